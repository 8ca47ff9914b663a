"""The Fourier shell correlations of a run: between half-maps, and against the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtCore import Qt

from napari_cryospin.engine.runfolder.fsc import FREQUENCY, HALVES, TRUTH
from napari_cryospin.gui.colours import faint
from napari_cryospin.gui.views.themed import ThemedPlot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

# columns of fsc.csv, their name and colour
_CURVES = {
    HALVES: ("half-maps", "#56B4E9"),
    TRUTH: ("truth", "#009E73"),
}
_THRESHOLDS = (0.143, 0.5)


class FscView(ThemedPlot):
    """The curves of ``fsc.csv`` over the frequency, with lines at 0.143 and 0.5."""

    title = "FSC"

    def __init__(self, parent: QWidget | None = None) -> None:
        names = ", ".join(
            f'<span style="color: {colour}">● {name}</span>' for name, colour in _CURVES.values()
        )
        super().__init__(f"FSC: {names}", "", "frequency (1/Å)", parent)
        self._curves = {
            column: self.plot(pen=pg.mkPen(colour, width=2))
            for column, (_, colour) in _CURVES.items()
        }
        self._lines = [pg.InfiniteLine(level, angle=0) for level in _THRESHOLDS]
        for line in self._lines:
            self.addItem(line, ignoreBounds=True)
        self.getAxis("left").setWidth(34)
        self.setYRange(0, 1, padding=0.03)
        self.setToolTip(
            "Half-maps share their poses, so their correlation is an upper bound; lines at 0.143 "
            "and 0.5"
        )
        self.restyle()

    def show_curves(self, columns: dict[str, NDArray[np.float64]]) -> None:
        """Show the columns of ``fsc.csv``, by name; none clears the view."""
        for name, curve in self._curves.items():
            if name in columns:
                curve.setData(columns[FREQUENCY], columns[name])
            else:
                curve.clear()

    def curve(self, column: str) -> pg.PlotDataItem:
        """Return the curve of a column of ``fsc.csv``."""
        return self._curves[column]

    def restyle(self) -> None:
        """Take the theme's colours."""
        super().restyle()
        # called once by the base class before there are lines
        for line in getattr(self, "_lines", []):
            line.setPen(pg.mkPen(faint(self, 150), style=Qt.PenStyle.DashLine))
