"""Layers that are made once, and then only drawn anew.

Camera, contrast, selection, order and visibility belong to the user. A layer that the user deletes
comes back when asked for, or with the next run; one that is hidden is drawn when it is shown again;
one that has nothing to show is out of sight until it has. New ones come one by one: to make one,
with its controls, and to draw it for the first time takes a part of a second each.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari_cryospin.gui.canvas.behind import keep_still
from napari_cryospin.gui.canvas.units import TAG, fitting_units
from napari_cryospin.gui.work.one_by_one import OneByOne

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.components import ViewerModel
    from napari.layers import Layer
    from qtpy.QtCore import QObject

# set in the metadata of a layer that has nothing to show: whether it will be seen once it has
_AWAY = "cryospin away"


class KeptLayers:
    """Layers of one viewer that are ours, each under a key.

    Parameters
    ----------
    viewer
        Where the layers stand.
    keys
        The keys; layers of a dock that was closed and opened again are taken over.
    owner
        With it ends what is still to be made.
    """

    def __init__(
        self, viewer: ViewerModel, keys: Iterable[str], owner: QObject | None = None
    ) -> None:
        self._viewer = viewer
        self._layers: dict[str, Layer] = {}
        # in the order in which they were deleted, and where in the list each stood
        self._deleted: list[str] = []
        self._places: dict[str, int] = {}
        self._drawings: dict[str, Callable[[], None]] = {}
        self._pieces = OneByOne(owner)
        self._adopt(frozenset(keys))
        viewer.layers.events.removed.connect(self._on_removed)

    def new_run(self) -> None:
        """Put away what the last run has drawn, and let deleted layers come back."""
        self._deleted.clear()
        self._drawings.clear()
        for key in self._layers:
            self.put_away(key)

    def bring_back(self) -> None:
        """Make the deleted layers anew, from what was drawn last."""
        deleted, self._deleted = self._deleted, []
        # the last first: each then finds the place that it had
        for key in reversed(deleted):
            if key in self._drawings:
                self._drawings[key]()

    def get(self, key: str) -> Layer | None:
        """Return a layer, while it stands."""
        return self._layers.get(key)

    def shown(self, key: str) -> bool:
        """Return whether a layer stands and is visible."""
        layer = self._layers.get(key)
        return layer is not None and bool(layer.visible)

    def wanted(self, key: str) -> bool:
        """Return whether a layer is visible, or will be once it has something to show."""
        layer = self._layers.get(key)
        return layer is not None and bool(layer.visible or layer.metadata.get(_AWAY))

    def draw(self, key: str, drawing: Callable[[], None]) -> None:
        """Draw a layer, or make it soon, with a function that may be called again at any time."""
        self._drawings[key] = drawing
        self._reveal(key)
        if self.shown(key):
            drawing()
        elif key not in self._layers and key not in self._deleted:
            self.later(partial(self._make, key))

    def later(self, work: Callable[[], None]) -> None:
        """Do something that takes long: soon, and after what was asked for before."""
        self._pieces.add(work)

    def draw_again(self, key: str) -> None:
        """Draw a layer anew from what was drawn last, unless it is hidden."""
        if key in self._drawings and self.shown(key):
            # the viewer would range its sliders anew, which is slower than the drawing
            with self._layers[key].events.data.blocker():
                self._drawings[key]()

    def draw_all_again(self) -> None:
        """Draw all visible layers anew."""
        for key in list(self._layers):
            self.draw_again(key)

    def put_away(self, key: str) -> None:
        """Hide a layer until it is drawn again; one that the user has hidden stays hidden then."""
        self._drawings.pop(key, None)
        layer = self._layers.get(key)
        if layer is not None:
            layer.metadata[_AWAY] = self.wanted(key)
            layer.visible = False

    def add(self, key: str, layer: Layer) -> None:
        """Add a layer above the others, or where it stood, and show it a little later.

        The user's selection stays as it is.
        """
        layers = self._viewer.layers
        selected, active = set(layers.selection), layers.selection.active
        layer.units = fitting_units(layers)
        layer.visible, layer.metadata[_AWAY] = False, True
        keep_still(self._viewer)
        # nobody hears of what is not for long: to show the controls of a layer takes a moment
        with layers.selection.events.blocker_all():
            layers.insert(min(self._places.pop(key, len(layers)), len(layers)), layer)
            layers.selection = selected
            layers.selection.active = active
        self._keep(key, layer)
        self._pieces.add_next(partial(self._reveal, key))

    def _make(self, key: str) -> None:
        if key in self._drawings and key not in self._layers and key not in self._deleted:
            self._drawings[key]()

    def _reveal(self, key: str) -> None:
        layer = self._layers.get(key)
        if layer is not None and key in self._drawings and layer.metadata.pop(_AWAY, False):
            with layer.events.visible.blocker(self._on_visible):
                layer.visible = True

    def _keep(self, key: str, layer: Layer) -> None:
        self._layers[key] = layer
        layer.events.visible.connect(self._on_visible)

    def _adopt(self, keys: frozenset[str]) -> None:
        for layer in self._viewer.layers:
            key = layer.metadata.get(TAG)
            if key in keys:
                self._keep(key, layer)

    def _on_visible(self, event: Any) -> None:
        layer, key = event.source, event.source.metadata.get(TAG)
        if _AWAY in layer.metadata and layer.visible:
            # seen as soon as there is something to see
            layer.metadata[_AWAY] = True
            layer.visible = False
        else:
            self.draw_again(key)

    def _on_removed(self, event: Any) -> None:
        for key, layer in list(self._layers.items()):
            if layer is event.value:
                layer.events.visible.disconnect(self._on_visible)
                del self._layers[key]
                self._deleted.append(key)
                self._places[key] = event.index
