"""File > Open Sample > cryoSPIN: a small simulated stack of a made-up molecule."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any


def synthetic_stack() -> list[tuple[Any, dict[str, Any], str]]:
    """Simulate the sample, open it in the dock, and return its images as a layer."""
    import mrcfile
    import napari

    from napari_cryospin.engine.run.demo import PIXEL_SIZE, simulate_demo
    from napari_cryospin.gui.launch import dock_of

    folder = Path(tempfile.mkdtemp(prefix="cryospin-sample-"))
    simulate_demo(folder)
    viewer = napari.current_viewer()
    if viewer is not None:
        dock_of(viewer).open_path(folder / "particles.star")
    with mrcfile.open(folder / "particles.mrcs") as mrc:
        images = mrc.data.copy()
    scale = (1.0, PIXEL_SIZE, PIXEL_SIZE)
    return [(images, {"name": "Simulated particles", "scale": scale}, "image")]
