"""The Fourier shell correlations of a run: between half-maps, and against the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt

from napari_cryospin.engine.runfolder.fsc import (
    CORRECTED,
    FREQUENCY,
    HALVES,
    MASKED,
    RANDOMISED,
    SHARED,
    TRUTH,
    TRUTH_MASKED,
    UNMASKED,
)
from napari_cryospin.gui.colours import faint
from napari_cryospin.gui.views.themed import ThemedPlot

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

# columns of fsc.csv, their name and colour, in the order of their names; the last ones lie on top
_CURVES = {
    HALVES: ("half-maps", "#56B4E9"),
    RANDOMISED: ("random", "#999999"),
    UNMASKED: ("no mask", "#E69F00"),
    MASKED: ("masked", "#CC79A7"),
    CORRECTED: ("corrected", "#56B4E9"),
    TRUTH: ("truth", "#009E73"),
    TRUTH_MASKED: ("truth, masked", "#0072B2"),
}
_THRESHOLDS = (0.143, 0.5)
_POSES_SHARED = (
    "Half-maps share their poses, so their correlation is an upper bound; lines at 0.143 and 0.5"
)
_INDEPENDENT = (
    "Independent half-maps: as they are, in a soft mask, with random phases beyond where they "
    "agree well, and corrected for what the mask adds. Up to the vertical line the halves share a "
    "map, and their correlation says nothing. The resolution is where the corrected curve falls "
    "below 0.143"
)
# names of curves that one line of the title holds
_IN_A_LINE = 3
# marks of the axis are no nearer than this, as a share of it
_APART = 0.09
# resolutions that marks stand at, Å
_MARKS = (100, 50, 40, 30, 25, 20, 15, 12, 10, 9, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.5, 1)


class ResolutionAxis(pg.AxisItem):
    """An axis of frequencies (1/Å) whose marks are the resolutions that they stand for (Å)."""

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        """Return where marks stand: at round resolutions, not too near to each other."""
        found: list[float] = []
        for angstrom in _MARKS:
            place = 1 / angstrom
            if low <= place <= high and (not found or place - found[-1] > _APART * (high - low)):
                found.append(place)
        return [(high - low, found)]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """Return the resolutions at marks."""
        return [f"{1 / value:.3g}" for value in values]


class FscView(ThemedPlot):
    """The curves of ``fsc.csv`` over the frequency, with lines at 0.143 and 0.5."""

    title = "FSC"

    def __init__(self, parent: QWidget | None = None) -> None:
        axis = ResolutionAxis("bottom")
        super().__init__("FSC", "", "Å", parent, axis=axis)
        self._curves = {
            column: self.plot(pen=pg.mkPen(colour, width=2))
            for column, (_, colour) in _CURVES.items()
        }
        self._lines = [pg.InfiniteLine(level, angle=0) for level in _THRESHOLDS]
        # up to here independent halves share a map
        self.limit = pg.InfiniteLine(angle=90, label="shared", labelOpts={"position": 0.12})
        self._lines.append(self.limit)
        for line in self._lines:
            self.addItem(line, ignoreBounds=True)
        self.limit.hide()
        self.getAxis("left").setWidth(34)
        # a title of two lines
        self.setMinimumHeight(175)
        self.setYRange(0, 1, padding=0.03)
        self.restyle()

    def show_curves(self, columns: dict[str, NDArray[np.float64]]) -> None:
        """Show the columns of ``fsc.csv``, by name; none clears the view."""
        for name, curve in self._curves.items():
            if name in columns:
                curve.setData(columns[FREQUENCY], columns[name])
            else:
                curve.clear()
        shown = [_CURVES[name] for name in _CURVES if name in columns]
        names = [f'<span style="color: {colour}">● {name}</span>' for name, colour in shown]
        lines = [", ".join(names[at : at + _IN_A_LINE]) for at in range(0, len(names), _IN_A_LINE)]
        self.say("FSC: " + "<br>".join(lines) if lines else "FSC")
        shared = columns.get(SHARED)
        self.limit.setVisible(shared is not None and bool(shared.any()))
        if shared is not None and shared.any():
            self.limit.setPos(float(columns[FREQUENCY][np.flatnonzero(shared)[-1]]))
        self.setToolTip(_INDEPENDENT if CORRECTED in columns else _POSES_SHARED)

    def curve(self, column: str) -> pg.PlotDataItem:
        """Return the curve of a column of ``fsc.csv``."""
        return self._curves[column]

    def restyle(self) -> None:
        """Take the theme's colours."""
        super().restyle()
        # called once by the base class before there are lines
        for line in getattr(self, "_lines", []):
            line.setPen(pg.mkPen(faint(self, 150), style=Qt.PenStyle.DashLine))
        if hasattr(self, "limit"):
            self.limit.label.setColor(faint(self, 200))
