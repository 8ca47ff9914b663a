"""The in-plane profile: probability of ``psi`` at one view direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg

from napari_cryospin.gui.colours import foreground
from napari_cryospin.gui.views.themed import ThemedPlot

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    from napari_cryospin.gui.views.mollweide_view import Scale

_ORANGE = "#E69F00"


class InPlaneView(ThemedPlot):
    """A curve over psi; its scale is the heatmap's, relative to the whole posterior's peak."""

    title = "in-plane profile"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("In-plane angle", "", "psi (°)", parent)
        self.curve = self.plot(pen=pg.mkPen(_ORANGE, width=2), symbol="o", symbolSize=3)
        self.curve.setSymbolBrush(_ORANGE)
        self.curve.setSymbolPen(None)
        self.getAxis("left").setWidth(34)
        self.getAxis("bottom").setTickSpacing(90, 30)
        self.setXRange(0, 360, padding=0.02)
        self._psi = self._probability = np.empty(0)

    def set_profile(
        self,
        psi: NDArray[np.float64],
        probability: NDArray[np.float64],
        peak: float,
        scale: Scale,
        where: str,
    ) -> None:
        """Show probabilities of psi (degrees).

        Parameters
        ----------
        psi, probability
            Shape (n,) each.
        peak
            Largest probability of the whole posterior's cells.
        scale
            How probabilities are drawn.
        where
            The direction in words.
        """
        self._psi, self._probability = psi, probability
        self.curve.setData(psi, scale.values(probability, peak))
        low, high = scale.levels
        self.setYRange(low, high, padding=0.04)
        self._title = f"At {where}"
        self.getPlotItem().setTitle(self._title, color=foreground(self).name(), size="8pt")

    def graphics(self) -> list[pg.PlotWidget]:
        """Return what is drawn, for saving."""
        return [self]

    def table(self) -> dict[str, NDArray[np.float64]]:
        """Return psi and its probability, for saving."""
        return {"psi_deg": self._psi, "probability": self._probability}
