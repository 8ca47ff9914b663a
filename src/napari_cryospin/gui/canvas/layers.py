"""The live map, or that of each class: Image layers, made once, then only given new data."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, Slot

from napari_cryospin.engine.settings import MOST_CLASSES
from napari_cryospin.gui.canvas.camera import show_right_handed
from napari_cryospin.gui.canvas.class_places import ALONE, class_colours, places_on
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
_KEYS = (_KEY, *(f"map of class {n}" for n in range(2, MOST_CLASSES + 1)))
_ONE_CLASS = "gray"
# in standard deviations of the map: where the surface is drawn, and the range of its shading
ISO_THRESHOLD = 3.5
CONTRAST_LIMITS = (0.0, 12.0)
# maps whose sizes differ by less than this factor are seen from where the user looks
_SAME_SIZE = 1.1


class VolumeLayer(QObject):
    """Shows the map that the explorer looks at, live or of a recorded epoch, in σ units.

    Maps of several classes stand side by side, or one is shown where the first stands, each in a
    layer and a colour of its own. napari's grid gives each layer a view of its own, and nothing is
    moved then.

    Camera, contrast, threshold, selection and order belong to the user once the layer stands; the
    camera is fitted to the first map, to one of another size in Å, and, until the user zooms, to
    another number side by side and to a canvas of another size. After that, its centre goes along
    with a map that is moved. Maps of any shape go into the one layer of
    their class, and layers of classes that are no more are hidden: taking one away and making
    another crashes some OpenGL drivers.

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
        self._kept = KeptLayers(viewer, _KEYS, self)
        self._places = ALONE
        self._units = FittingUnits(viewer)
        # edge of the map that the camera was fitted to, in Å; 0 before the first
        self._fitted = 0.0 if self.layer is None else _length(self.layer)
        self._fitted_places = ALONE
        # class that was shown alone then
        self._alone: int | None = None
        # centre and zoom since the camera was fitted last
        self._left_as: tuple[tuple[float, ...], float] | None = None
        viewer.canvas.events.size.connect(self._on_canvas)
        viewer.canvas.grid.events.enabled.connect(self._on_arranged)
        session.run_started.connect(self._on_run_started)
        session.run_opened.connect(self._on_run_opened)
        session.state_changed.connect(self._choose_steps)
        explorer.volume_changed.connect(self._on_volume)
        explorer.class_changed.connect(self._on_arranged)

    @property
    def layer(self) -> Image | None:
        """The layer, of the first class where there are several, while it stands."""
        return self._kept.get(_KEY)

    def layer_of(self, number: int) -> Image | None:
        """Return the layer of a class, from 0, while it stands."""
        return self._kept.get(_KEYS[number])

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
        for key in _KEYS:
            layer = self._kept.get(key)
            if layer is not None:
                choose_steps(self._viewer, layer, hurried=self._session.active)

    @Slot(object)
    def _on_volume(self, event: VolumeUpdated) -> None:
        n = min(len(event.maps), MOST_CLASSES)
        one = self._explorer.shown_class if n > 1 else None
        self._places = places_on(self._viewer, n, one)
        for number, key in enumerate(_KEYS):
            if number < n and one in (None, number):
                self._kept.draw(key, partial(self._draw, event, number))
            else:
                # what a run of more classes, or all side by side, has left is out of sight
                self._kept.put_away(key)

    @Slot()
    @Slot(object)
    def _on_arranged(self, _event: object = None) -> None:
        """Place the maps anew, where one alone, all, or napari's grid are asked for."""
        if self._explorer.volume is not None:
            self._on_volume(self._explorer.volume)

    def _draw(self, event: VolumeUpdated, number: int = 0) -> None:
        shown, scale = in_sigma(event.maps[number]), (event.pixel_size,) * 3
        layer = self.layer_of(number)
        if layer is None:
            layer = self._make(shown, scale, number)
        else:
            layer.data = shown
            if tuple(layer.scale) != scale:
                layer.scale = scale
        place = self._places.offset(number, shown.shape[0] * event.pixel_size)
        if tuple(layer.translate) != place:
            layer.translate = place
        self._colour(layer, number, several=len(event.maps) > 1)
        self._choose_steps()
        factor = _length(layer) / self._fitted if self._fitted else np.inf
        if not _length(layer):
            return
        if not 1 / _SAME_SIZE < factor < _SAME_SIZE:
            self._fit_camera(layer)
        elif self._places != self._fitted_places:
            self._fit_camera(layer) if self._as_left else self._go_along()
        self._fitted_places, self._alone = self._places, self._explorer.shown_class

    def _colour(self, layer: Image, number: int, *, several: bool) -> None:
        """Let the first map be gray alone, and of its class's colour among several.

        One that the user has given another colour keeps it.
        """
        if number:
            return
        own = class_colours(0)
        before, after = (_ONE_CLASS, own.name) if several else (own.name, _ONE_CLASS)
        if layer.colormap.name == before:
            layer.colormap = own if several else after

    def _draw_nothing(self) -> None:
        """Make the layer with an empty map: 3D at once where there is nothing else to be seen."""
        if not any(layer.visible for layer in self._viewer.layers):
            self._viewer.dims.ndisplay = 3
        if self.layer is None:
            self._make(np.zeros((2,) * 3, dtype=np.float32), (1.0,) * 3)

    def _make(self, shown: np.ndarray, scale: tuple[float, ...], number: int = 0) -> Image:
        layer = Image(
            shown,
            name=f"{VOLUME}, class {number + 1}" if number else VOLUME,
            scale=scale,
            rendering="iso",
            iso_threshold=ISO_THRESHOLD,
            contrast_limits=CONTRAST_LIMITS,
            colormap=class_colours(number) if number else _ONE_CLASS,
            metadata={TAG: _KEYS[number]},
        )
        self._kept.add(_KEYS[number], layer)
        self._kept.later(self._select)
        return layer

    def _select(self) -> None:
        """Have the map's threshold at hand, where no other layer is selected."""
        layers = self._viewer.layers
        if self.layer is not None and layers.selection.active is None:
            layers.selection.active = self.layer

    def _fit_camera(self, layer: Image) -> None:
        """Let the map, or all that stand side by side, fill the canvas."""
        camera = self._viewer.scene.camera
        if not self._fitted:
            # once, for a first look; from here on the view is the user's
            self._viewer.dims.ndisplay = 3
            show_right_handed(camera)
            camera.angles = (0, 0, 0)
        self._fitted, self._fitted_places = _length(layer), self._places
        middle = middle_of_volume(layer.data.shape[0], layer.scale[0])
        camera.center = tuple(middle + self._places.middle(self._fitted))
        self._fill_canvas()

    def _go_along(self) -> None:
        """Where the user has zoomed, look at the same spot of a map that now stands elsewhere.

        It is the nearest of several, which one alone stands in for.
        """
        camera, length, before = self._viewer.scene.camera, self._fitted, self._fitted_places
        seen = np.asarray(camera.center) - length / 2
        number = (self._alone or 0) if before == ALONE else before.nearest(seen, length)
        moved = np.subtract(self._places.offset(number, length), before.offset(number, length))
        if moved.any():
            camera.center = tuple(camera.center + moved)

    def _fill_canvas(self) -> None:
        camera = self._viewer.scene.camera
        camera.zoom = min(
            pixels / ((maps - 1 + 2 * SHOWN) * self._fitted)
            for pixels, maps in zip(
                self._viewer.canvas.viewbox_size(self._viewer.layers),
                (self._fitted_places.rows, self._fitted_places.columns),
                strict=True,
            )
        )
        self._left_as = (tuple(camera.center), camera.zoom)

    @Slot()
    def _on_canvas(self, _event: Any = None) -> None:
        """Let the map fill the canvas where it has another size, unless the user has zoomed."""
        if self._as_left:
            self._fill_canvas()

    @property
    def _as_left(self) -> bool:
        """Whether the user has left the view as it was fitted, but for turning it."""
        camera = self._viewer.scene.camera
        return self._left_as == (tuple(camera.center), camera.zoom)


def in_sigma(volume: np.ndarray) -> np.ndarray:
    """Return a map in units of its standard deviation, contiguous float32; a flat map stays 0."""
    sigma = float(volume.std())
    scaled = (volume - volume.mean()) / sigma if sigma > 0 else np.zeros_like(volume)
    return np.ascontiguousarray(scaled, dtype=np.float32)


def _length(layer: Image) -> float:
    """Return the edge of a map in Å, 0 of one that is empty."""
    return float(layer.data.shape[0] * layer.scale[0]) if layer.data.any() else 0.0
