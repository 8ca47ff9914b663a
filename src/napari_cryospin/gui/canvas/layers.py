"""The live map: one Image layer, made once a run, then only given new data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, Slot

from napari_cryospin.gui.canvas.kept_layers import UNITS

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_cryospin.engine.run.events import VolumeUpdated
    from napari_cryospin.gui.explorer.state import Explorer
    from napari_cryospin.gui.work.session import Session

VOLUME = "cryoSPIN volume"
# in standard deviations of the map: where the surface is drawn, and the range of its shading
ISO_THRESHOLD = 3.5
CONTRAST_LIMITS = (0.0, 12.0)
# the posterior's spheres stand to both sides of the map
_ROOM_FOR_SPHERES = 0.34


class VolumeLayer(QObject):
    """Shows the map that the explorer looks at, live or of a recorded epoch, in σ units.

    Camera, contrast, threshold, selection and order belong to the user once the layer stands. If
    the user deletes the layer it stays away until the next run.

    Parameters
    ----------
    session
        Tells of new runs.
    explorer
        Where the maps come from.
    viewer
        Where the layer is made.
    """

    def __init__(self, session: Session, explorer: Explorer, viewer: ViewerModel) -> None:
        super().__init__(session)
        self._viewer = viewer
        self._explorer = explorer
        self._layer: Image | None = None
        self._deleted = False
        session.run_started.connect(self._on_run_started)
        session.run_opened.connect(self._on_run_started)
        explorer.volume_changed.connect(self._on_volume)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def layer(self) -> Image | None:
        """The layer, while it stands."""
        return self._layer

    @Slot(object)
    def _on_run_started(self, _event: object) -> None:
        self._deleted = False

    @Slot(object)
    def _on_volume(self, event: VolumeUpdated) -> None:
        if self._deleted:
            return
        shown = in_sigma(event.volume)
        if self._layer is not None and self._layer.data.shape == shown.shape:
            self._layer.data = shown
        else:
            self._make(shown, event.pixel_size)

    def _make(self, shown: np.ndarray, pixel_size: float) -> None:
        if self._layer is not None:
            old, self._layer = self._layer, None
            self._viewer.layers.remove(old)
            self._deleted = False
        self._layer = Image(
            shown,
            name=VOLUME,
            scale=(pixel_size,) * 3,
            units=UNITS,
            rendering="iso",
            iso_threshold=ISO_THRESHOLD,
            contrast_limits=CONTRAST_LIMITS,
            colormap="gray",
        )
        self._viewer.add_layer(self._layer)
        # once, for a first look; from here on the view is the user's
        self._viewer.dims.ndisplay = 3
        self._viewer.reset_view()
        self._viewer.scene.camera.zoom *= _ROOM_FOR_SPHERES

    def _on_removed(self, event: object) -> None:
        if self._layer is not None and getattr(event, "value", None) is self._layer:
            self._layer = None
            self._deleted = True


def in_sigma(volume: np.ndarray) -> np.ndarray:
    """Return a map in units of its standard deviation, contiguous float32; a flat map stays 0."""
    sigma = float(volume.std())
    scaled = (volume - volume.mean()) / sigma if sigma > 0 else np.zeros_like(volume)
    return np.ascontiguousarray(scaled, dtype=np.float32)
