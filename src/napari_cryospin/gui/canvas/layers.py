"""The live map: one Image layer, made once, then only given new data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, Slot

from napari_cryospin.gui.canvas.camera import show_right_handed
from napari_cryospin.gui.canvas.kept_layers import KeptLayers
from napari_cryospin.gui.canvas.rays import choose_steps
from napari_cryospin.gui.canvas.spheres import SHOWN, middle_of_volume
from napari_cryospin.gui.canvas.units import TAG, FittingUnits, load_units

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_cryospin.engine.events import VolumeUpdated
    from napari_cryospin.gui.explorer.state import Explorer
    from napari_cryospin.gui.work.session import Session

VOLUME = "cryoSPIN volume"
_KEY = "map"
# in standard deviations of the map: where the surface is drawn, and the range of its shading
ISO_THRESHOLD = 3.5
CONTRAST_LIMITS = (0.0, 12.0)
# maps whose sizes differ by less than this factor are seen from where the user looks
_SAME_SIZE = 1.1


class VolumeLayer(QObject):
    """Shows the map that the explorer looks at, live or of a recorded epoch, in σ units.

    Camera, contrast, threshold, selection and order belong to the user once the layer stands; the
    camera is fitted to the first map, to one of another size in Å, and to a canvas of another size
    until the user zooms. Maps of any shape go into the one layer: taking it away and making another
    crashes some OpenGL drivers.

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
        load_units()
        self._session, self._explorer, self._viewer = session, explorer, viewer
        self._kept = KeptLayers(viewer, (_KEY,), self)
        self._units = FittingUnits(viewer)
        # edge of the map that the camera was fitted to, in Å; 0 before the first
        self._fitted = 0.0 if self.layer is None else _length(self.layer)
        # centre and zoom since the camera was fitted last
        self._left_as: tuple[tuple[float, ...], float] | None = None
        viewer.canvas.events.size.connect(self._on_canvas)
        session.run_started.connect(self._on_run_started)
        session.run_opened.connect(self._on_run_opened)
        session.state_changed.connect(self._choose_steps)
        explorer.volume_changed.connect(self._on_volume)

    @property
    def layer(self) -> Image | None:
        """The layer, while it stands."""
        return self._kept.get(_KEY)

    def bring_back(self) -> None:
        """Make the layer anew where the user has deleted it."""
        self._kept.bring_back()

    @Slot(object)
    def _on_run_started(self, _event: object) -> None:
        self._kept.new_run()
        if self.layer is None:
            # layer, controls and shader take a moment to make: not when the first map comes
            self._kept.draw(_KEY, self._draw_nothing)

    @Slot(object)
    def _on_run_opened(self, _event: object) -> None:
        self._kept.new_run()

    @Slot()
    def _choose_steps(self) -> None:
        if self.layer is not None:
            choose_steps(self._viewer, self.layer, hurried=self._session.active)

    @Slot(object)
    def _on_volume(self, event: VolumeUpdated) -> None:
        self._kept.draw(_KEY, lambda: self._draw(event))

    def _draw(self, event: VolumeUpdated) -> None:
        shown, scale = in_sigma(event.volume), (event.pixel_size,) * 3
        layer = self.layer
        if layer is None:
            layer = self._make(shown, scale)
        else:
            layer.data = shown
            if tuple(layer.scale) != scale:
                layer.scale = scale
        self._choose_steps()
        factor = _length(layer) / self._fitted if self._fitted else np.inf
        if not 1 / _SAME_SIZE < factor < _SAME_SIZE:
            self._fit_camera(layer)

    def _draw_nothing(self) -> None:
        """Make the layer with an empty map: 3D at once where there is nothing else to be seen."""
        if not any(layer.visible for layer in self._viewer.layers):
            self._viewer.dims.ndisplay = 3
        if self.layer is None:
            self._make(np.zeros((2,) * 3, dtype=np.float32), (1.0,) * 3)

    def _make(self, shown: np.ndarray, scale: tuple[float, ...]) -> Image:
        layer = Image(
            shown,
            name=VOLUME,
            scale=scale,
            rendering="iso",
            iso_threshold=ISO_THRESHOLD,
            contrast_limits=CONTRAST_LIMITS,
            colormap="gray",
            metadata={TAG: _KEY},
        )
        self._kept.add(_KEY, layer)
        self._kept.later(self._select)
        return layer

    def _select(self) -> None:
        """Have the map's threshold at hand, where no other layer is selected."""
        layers = self._viewer.layers
        if self.layer is not None and layers.selection.active is None:
            layers.selection.active = self.layer

    def _fit_camera(self, layer: Image) -> None:
        """Let the map fill the canvas."""
        camera = self._viewer.scene.camera
        if not self._fitted:
            # once, for a first look; from here on the view is the user's
            self._viewer.dims.ndisplay = 3
            show_right_handed(camera)
            camera.angles = (0, 0, 0)
        self._fitted = _length(layer)
        camera.center = tuple(middle_of_volume(layer.data.shape[0], layer.scale[0]))
        self._fill_canvas()

    def _fill_canvas(self) -> None:
        camera = self._viewer.scene.camera
        canvas = min(self._viewer.canvas.viewbox_size(self._viewer.layers))
        camera.zoom = canvas / (2 * SHOWN * self._fitted)
        self._left_as = (tuple(camera.center), camera.zoom)

    @Slot()
    def _on_canvas(self, _event: Any = None) -> None:
        """Let the map fill the canvas where it has another size, unless the user has zoomed."""
        camera = self._viewer.scene.camera
        if self._left_as == (tuple(camera.center), camera.zoom):
            self._fill_canvas()


def in_sigma(volume: np.ndarray) -> np.ndarray:
    """Return a map in units of its standard deviation, contiguous float32; a flat map stays 0."""
    sigma = float(volume.std())
    scaled = (volume - volume.mean()) / sigma if sigma > 0 else np.zeros_like(volume)
    return np.ascontiguousarray(scaled, dtype=np.float32)


def _length(layer: Image) -> float:
    """Return the edge of a map in Å, 0 of one that is empty."""
    return float(layer.data.shape[0] * layer.scale[0]) if layer.data.any() else 0.0
