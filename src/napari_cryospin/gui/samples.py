"""File > Open Sample > cryoSPIN: a small simulated stack of a made-up molecule."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

SAMPLE_PARTICLES = 3000
SAMPLE_BOX, SAMPLE_PIXEL_SIZE, SAMPLE_SNR = 32, 4.0, 1.0


def simulate_sample(out: Path, seed: int = 0, progress: Any = None) -> None:
    """Simulate the sample's particle stack with its truth into a folder."""
    from napari_cryospin.engine.data.molecule import procedural_molecule
    from napari_cryospin.engine.data.simulate import simulate

    simulate(
        procedural_molecule(SAMPLE_BOX, SAMPLE_PIXEL_SIZE),
        out,
        n_particles=SAMPLE_PARTICLES,
        pixel_size=SAMPLE_PIXEL_SIZE,
        snr=SAMPLE_SNR,
        seed=seed,
        progress=progress,
    )


def synthetic_stack() -> list[tuple[Any, dict[str, Any], str]]:
    """Simulate the sample, open it in the dock, and return its images as a layer."""
    import mrcfile
    import napari

    from napari_cryospin.gui.launch import dock_of

    folder = Path(tempfile.mkdtemp(prefix="cryospin-sample-"))
    simulate_sample(folder)
    viewer = napari.current_viewer()
    if viewer is not None:
        dock_of(viewer).open_path(folder / "particles.star")
    with mrcfile.open(folder / "particles.mrcs") as mrc:
        images = mrc.data.copy()
    scale = (1.0, SAMPLE_PIXEL_SIZE, SAMPLE_PIXEL_SIZE)
    return [(images, {"name": "Simulated particles", "scale": scale}, "image")]
