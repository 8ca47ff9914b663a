"""A canvas in a real window, with all that the dock draws on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.events import VolumeUpdated
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.canvas.layers import VolumeLayer
from napari_cryospin.gui.canvas.sphere_layers import PosteriorOnSphere, SphereLayers
from napari_cryospin.gui.explorer.state import Explorer

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

    from napari_cryospin.gui.work.session import Session


class Canvas:
    """A real window with a map and all spheres, as the dock draws them."""

    def __init__(self, viewer: napari.Viewer, session: Session) -> None:
        self.viewer, self.session = viewer, session
        self.map = VolumeLayer(session, Explorer(session), viewer)
        self.spheres = SphereLayers(viewer)

    def draw(self, seed: int, box: int = 16, heads: int = 3, nside: int = 2) -> None:
        """Draw all layers, in the order in which they come in a run."""
        random = np.random.default_rng(seed)
        volume = random.normal(size=(box,) * 3).astype(np.float32)
        self.session.volume_updated.emit(VolumeUpdated(0, Inference.AMORTIZED, volume, 64 / box))
        self.spheres.set_box(box, 64 / box)
        values = random.uniform(-6, 0, 12 * nside**2).astype(np.float32)
        self.spheres.show_posterior(PosteriorOnSphere(3, nside, values, (-6, 0)))
        directions = random.normal(size=(50, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        self.spheres.show_candidates(directions[:heads], 0)
        self.spheres.show_views(directions, random.integers(0, heads, 50))
        self.spheres.show_head_cells(random.normal(size=(heads, 12)), 1, "mean loss")

    def new_run(self) -> None:
        self.session.run_started.emit(None)
        self.spheres.new_run()

    def paint(self) -> None:
        """Let the window paint what it shows."""
        self.viewer.screenshot(canvas_only=True, flash=False)

    def visible(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers if layer.visible]


@pytest.fixture
def canvas(make_napari_viewer: Callable[..., napari.Viewer], session: Session) -> Canvas:
    """Return a canvas without layers, small: it is painted by software."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(700, 500)
    return Canvas(viewer, session)
