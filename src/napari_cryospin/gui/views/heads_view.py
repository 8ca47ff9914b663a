"""The heads: how many particles each wins over the epochs, and how well it does by direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cryospin.gui.colours import faint, foreground, head_colour, head_label
from napari_cryospin.gui.views import mollweide
from napari_cryospin.gui.views.sphere_map import SphereMap
from napari_cryospin.gui.views.themed import ColourBar, ThemedPlot, ThemedWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PER_LINE = 4
_COLOURMAP = "viridis"


class HeadShares(ThemedPlot):
    """Stacked bars: the share of the particles that each head wins, epoch by epoch.

    A dashed line stands at every switch from auto-encoding to another stage, or back.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Particles won by each head", "particles (%)", "epoch", parent)
        self._bars: list[pg.BarGraphItem] = []
        self._switches: list[pg.InfiniteLine] = []
        self.setYRange(0, 100, padding=0.02)

    def set_history(
        self, epochs: NDArray[np.integer], shares: NDArray[np.floating], switches: Sequence[float]
    ) -> None:
        """Show the shares (E, M), in 0..1, of epochs (E,), from 0, and where switches were."""
        while len(self._bars) < shares.shape[1]:
            bar = pg.BarGraphItem(x=[], height=[], width=0.85)
            self.addItem(bar)
            self._bars.append(bar)
        below = np.zeros(len(epochs))
        for head, bar in enumerate(self._bars):
            height = 100 * shares[:, head] if head < shares.shape[1] else np.zeros(len(epochs))
            colour = pg.mkBrush(head_colour(head))
            bar.setOpts(x=epochs + 1, y0=below, height=height, brush=colour, pen=None)
            below = below + height
        while len(self._switches) < len(switches):
            line = pg.InfiniteLine(angle=90)
            self.addItem(line, ignoreBounds=True)
            self._switches.append(line)
        for place, line in enumerate(self._switches):
            line.setVisible(place < len(switches))
            # the bar of an epoch, from 1, stands over its number
            line.setPos(switches[place] + 0.5 if place < len(switches) else 0)
        self.restyle()
        if len(epochs):
            self.setXRange(0.4, max(int(epochs.max()) + 1, 5) + 0.6, padding=0)

    def restyle(self) -> None:
        """Take the theme's colours."""
        super().restyle()
        # called once by the base class before there are lines
        for line in getattr(self, "_switches", []):
            line.setPen(pg.mkPen(foreground(self), style=Qt.PenStyle.DashLine))


class HeadsView(ThemedWidget):
    """Shares over epochs above; below, one map of directions for each head."""

    title = "heads"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.shares = HeadShares(self)
        self._canvas = pg.GraphicsLayoutWidget(parent=self)
        self._canvas.setBackground(None)
        self._canvas.ci.layout.setContentsMargins(0, 0, 0, 0)
        self._canvas.ci.layout.setSpacing(3)
        self._maps: list[SphereMap] = []
        self._labels: list[pg.LabelItem] = []
        self._bar: ColourBar | None = None
        self._cells: tuple[NDArray[np.floating], int, str] | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.shares, 2)
        layout.addWidget(self._canvas, 3)

    def set_history(
        self, epochs: NDArray[np.integer], shares: NDArray[np.floating], switches: Sequence[float]
    ) -> None:
        """Show the shares (E, M), in 0..1, of epochs (E,), from 0, and where switches were."""
        self.shares.set_history(epochs, shares, switches)

    def set_cells(self, values: NDArray[np.floating], nside: int, label: str) -> None:
        """Show a figure of each head by direction (RING), (M, 12 nside²); NaN: no particle."""
        self._cells = (values, nside, label)
        if len(self._maps) != len(values):
            self._lay_out(len(values))
        known = values[np.isfinite(values)]
        low, high = np.percentile(known, (2, 98)) if len(known) else (0.0, 1.0)
        for sphere, row in zip(self._maps, values, strict=True):
            sphere.set_values(row, nside, _COLOURMAP, (float(low), float(high)))
        assert self._bar is not None
        self._bar.setLevels((float(low), float(high)))
        self.restyle()

    def clear(self) -> None:
        """Show nothing."""
        self.set_history(np.empty(0, np.int64), np.empty((0, 0)), ())
        self.clear_cells()

    def clear_cells(self) -> None:
        """Show no maps of heads."""
        self._canvas.clear()
        self._maps, self._labels, self._bar, self._cells = [], [], None, None

    def graphics(self) -> list[pg.GraphicsView]:
        """Return what is drawn, for saving."""
        return [self.shares, self._canvas]

    def table(self) -> dict[str, NDArray[np.generic]]:
        """Return the figure of each head and direction, for saving."""
        if self._cells is None:
            return {}
        values, nside, label = self._cells
        heads = {f"head_{head_label(head)}": row for head, row in enumerate(values)}
        what = np.full(values.shape[1], label)
        return {**mollweide.angles_of_pixels(nside), "figure": what, **heads}

    def restyle(self) -> None:
        """Take the theme's colours."""
        self.shares.restyle()
        for head, (sphere, label) in enumerate(zip(self._maps, self._labels, strict=True)):
            sphere.restyle(faint(self))
            dot = f'<span style="color: {head_colour(head)}">●</span>'
            label.setText(f"{dot} {head_label(head)}", color=foreground(self), size="9pt")
        if self._bar is not None and self._cells is not None:
            self._bar.restyle(self, self._cells[2])

    def _lay_out(self, n_heads: int) -> None:
        self._canvas.clear()
        self._maps, self._labels = [], []
        for head in range(n_heads):
            row, column = 2 * (head // _PER_LINE), head % _PER_LINE
            self._labels.append(self._canvas.addLabel("", row=row, col=column))
            sphere = SphereMap()
            self._canvas.addItem(sphere, row=row + 1, col=column)
            self._maps.append(sphere)
        lines = -(-n_heads // _PER_LINE)
        self._bar = ColourBar(_COLOURMAP)
        self._canvas.addItem(self._bar, row=2 * lines, col=0, colspan=min(n_heads, _PER_LINE))
        self._canvas.setMinimumHeight(78 * lines + 50)
