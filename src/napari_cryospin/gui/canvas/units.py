"""Which layers are ours, and their units: Å, unless other layers have something else.

napari compares the units of all layers, axis by axis from the last one; where they are of different
kinds, it warns at every layer that comes, and uses none. A user's image without units is in pixels.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pint
from napari.qt.threading import create_worker
from pint.registry import LazyRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from napari.layers import Layer
    from pint import Unit

# the key under which a layer's metadata says which of ours it is
TAG = "cryospin"
# of the canvas, along z, y and x
UNITS = ("angstrom",) * 3


def fitting_units(layers: Iterable[Layer]) -> tuple[str | Unit, ...]:
    """Return the units of our layers, along z, y and x, that agree with those of the user's.

    Numbers stay Å, only what napari calls them changes: with an image in pixels, its scale bar says
    pixels. Where the user's layers disagree with each other, nothing can be done.
    """
    units: list[str | Unit] = list(UNITS)
    for layer in layers:
        if TAG not in layer.metadata:
            for axis in range(-min(len(layer.units), 3), 0):
                if not layer.units[axis].is_compatible_with(UNITS[axis]):
                    units[axis] = layer.units[axis]
    return tuple(units)


@cache
def load_units() -> None:
    """Read the definitions of all units off the main thread, once for the process.

    With its first layer napari would read them while the window stands still, and it imports
    scipy's image functions as well.
    """
    worker = create_worker(_definitions)
    worker.returned.connect(_use_definitions)
    worker.start()


def _definitions() -> pint.UnitRegistry[Any]:
    import scipy.ndimage  # noqa: F401

    return pint.UnitRegistry()


def _use_definitions(registry: pint.UnitRegistry[Any]) -> None:
    # units of two registries do not mix: only where nobody has one yet
    if isinstance(pint.get_application_registry().get(), LazyRegistry):
        pint.set_application_registry(registry)


class FittingUnits:
    """Keeps the units of our layers fitting, as the user's layers come and go.

    A layer without units that comes beside ours is warned of once: napari has looked by the time it
    tells of the layer.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._layers = viewer.layers
        for layer in self._layers:
            self._watch(layer)
        self._layers.events.inserted.connect(self._on_inserted)
        self._layers.events.removed.connect(self._fit)
        self._fit()

    def _watch(self, layer: Layer) -> None:
        if TAG not in layer.metadata:
            layer.events.units.connect(self._fit)

    def _on_inserted(self, event: Any) -> None:
        self._watch(event.value)
        self._fit()

    def _fit(self, _event: Any = None) -> None:
        units = fitting_units(self._layers)
        for layer in self._layers:
            if TAG in layer.metadata:
                layer.units = units
