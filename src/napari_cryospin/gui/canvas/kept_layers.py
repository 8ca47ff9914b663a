"""Layers that are made once, and then only drawn anew.

Camera, contrast, selection, order and visibility belong to the user. A layer that the user deletes
comes back with the next run, not before; one that is hidden is drawn when it is shown again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer

# the key under which a layer's metadata says which of ours it is
TAG = "cryospin sphere"
# of the canvas, along z, y and x
UNITS = ("angstrom",) * 3


class KeptLayers:
    """The layers of one viewer that are ours, each under a key."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layers: dict[str, Layer] = {}
        self._deleted: set[str] = set()
        self._drawings: dict[str, Callable[[], None]] = {}
        self._adopt()
        viewer.layers.events.removed.connect(self._on_removed)

    def new_run(self) -> None:
        """Let deleted layers come back."""
        self._deleted.clear()

    def get(self, key: str) -> Layer | None:
        """Return a layer, while it stands."""
        return self._layers.get(key)

    def shown(self, key: str) -> bool:
        """Return whether a layer stands and is visible."""
        layer = self._layers.get(key)
        return layer is not None and bool(layer.visible)

    def draw(self, key: str, drawing: Callable[[], None]) -> None:
        """Draw a layer, or make it, with a function that may be called again at any time."""
        if key in self._deleted:
            return
        self._drawings[key] = drawing
        if key not in self._layers or self.shown(key):
            drawing()

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

    def add(self, key: str, layer: Layer) -> None:
        """Add a layer above the others, leaving the user's selection as it is."""
        layers = self._viewer.layers
        selected, active = set(layers.selection), layers.selection.active
        layers.append(layer)
        layers.selection = selected
        layers.selection.active = active
        self._keep(key, layer)

    def _keep(self, key: str, layer: Layer) -> None:
        self._layers[key] = layer
        layer.events.visible.connect(self._on_visible)

    def _adopt(self) -> None:
        """Take over the layers of a dock that was closed and opened again."""
        for layer in self._viewer.layers:
            key = layer.metadata.get(TAG)
            if key is not None:
                self._keep(key, layer)

    def _on_visible(self, event: Any) -> None:
        self.draw_again(event.source.metadata.get(TAG))

    def _on_removed(self, event: Any) -> None:
        for key, layer in list(self._layers.items()):
            if layer is event.value:
                layer.events.visible.disconnect(self._on_visible)
                del self._layers[key]
                self._drawings.pop(key, None)
                self._deleted.add(key)
