"""Where the maps of several classes stand beside each other, and their colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Self

import numpy as np
from napari.utils.colormaps import Colormap
from qtpy.QtGui import QColor

from napari_cryospin.gui.colours import class_colour, class_label

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

# so many stand in one row
_MOST_IN_ROW = 4


@dataclass(frozen=True)
class ClassPlaces:
    """Rows and columns of maps; the first stands where a map alone does, the next right of it."""

    rows: int
    columns: int

    @classmethod
    def of(cls, n: int) -> Self:
        """Return the places of n maps: one row of a few, else about as many rows as columns."""
        columns = n if n <= _MOST_IN_ROW else math.ceil(math.sqrt(n))
        return cls(math.ceil(n / columns), columns)

    def offset(self, number: int, length: float) -> tuple[float, float, float]:
        """Return by how much a map (from 0) is moved, (z, y, x) in Å, where each is that long."""
        if self == ALONE:
            return 0.0, 0.0, 0.0
        row, column = divmod(number, self.columns)
        return 0.0, row * length, column * length

    def nearest(self, spot: NDArray[np.floating], length: float) -> int:
        """Return which map is nearest to a spot, (z, y, x) in Å from the middle of the first."""
        row, column = (
            int(np.clip(round(float(at) / length), 0, most - 1))
            for at, most in zip(spot[1:], (self.rows, self.columns), strict=True)
        )
        return row * self.columns + column

    def middle(self, length: float) -> NDArray[np.float64]:
        """Return the middle of all places, (z, y, x) in Å, from that of the first."""
        return np.array([0.0, (self.rows - 1) / 2, (self.columns - 1) / 2]) * length


ALONE = ClassPlaces(1, 1)


def places_on(viewer: ViewerModel, n: int, one: int | None) -> ClassPlaces:
    """Return the places of n maps, or of one of them where only that is shown.

    napari's grid gives each layer a view of its own, in which nothing is moved.
    """
    return ALONE if one is not None or viewer.canvas.grid.enabled else ClassPlaces.of(n)


@cache
def class_colours(number: int) -> Colormap:
    """Return the colour map of the surface of a class's map, from black to the class's colour."""
    rgb = QColor(class_colour(number)).getRgbF()[:3]
    return Colormap([[0, 0, 0, 1], [*rgb, 1]], name=f"cryoSPIN class {class_label(number)}")
