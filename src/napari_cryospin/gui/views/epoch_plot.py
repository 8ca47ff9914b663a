"""Small plots in the theme's colours: curves over epochs, and the shares of the heads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pyqtgraph as pg
from qtpy.QtCore import Qt

from napari_cryospin.gui.colours import foreground, head_colour, head_label
from napari_cryospin.gui.views.themed import ThemedPlot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtWidgets import QWidget


_WON = "Particles won by each head"
# characters that a narrow dock has room for in a line of a title
_WIDTH = 34


class EpochPlot(ThemedPlot):
    """Named curves over epochs, updated in place, with a line where each stage begins.

    Parameters
    ----------
    title
        What is plotted; each curve's name follows in its colour when there is more than one.
    left
        The y axis with its unit.
    curves
        Name and colour of each curve.
    thin
        Names of curves with many values: a thin line without points.
    """

    def __init__(
        self,
        title: str,
        left: str,
        curves: Mapping[str, str],
        *,
        thin: Sequence[str] = (),
        parent: QWidget | None = None,
    ) -> None:
        self._colours = dict(curves)
        super().__init__(self._with_names(title, list(curves)), left, "epoch", parent)
        self._curves = {name: self._curve(c, name in thin) for name, c in curves.items()}
        self._lines: list[pg.InfiniteLine] = []
        self._begins: list[tuple[float, str]] = []
        # or the numbers of a low plot touch
        self.getAxis("left").setTickDensity(0.5)
        self.restyle()

    def set_curve(self, name: str, epochs: Sequence[float], values: Sequence[float]) -> None:
        """Replace the values of a curve."""
        self._curves[name].setData(epochs, values)

    def name_curves(self, title: str, names: Sequence[str]) -> None:
        """Name only some of the curves beside the title: those that have values."""
        self.say(self._with_names(title, names))

    def _with_names(self, title: str, names: Sequence[str]) -> str:
        if len(names) < 2:
            return title
        lines, width = [f"{title}:"], len(title)
        for name in names:
            width += len(f"● {name}, ")
            if width > _WIDTH:
                lines.append("")
                width = len(f"● {name}, ")
            end = "" if name == names[-1] else ","
            lines[-1] += f' <span style="color: {self._colours[name]}">● {name}</span>{end}'
        return "<br>".join(lines)

    def curve(self, name: str) -> pg.PlotDataItem:
        """Return a curve by its name."""
        return self._curves[name]

    def mark_stages(self, begins: Sequence[tuple[float, str]]) -> None:
        """Put a line with its name where each stage after the first begins."""
        if list(begins) == self._begins:
            return
        self._begins = list(begins)
        while len(self._lines) < len(begins):
            # the names of neighbours stand at different heights
            height = 0.9 - 0.3 * (len(self._lines) % 3)
            line = pg.InfiniteLine(angle=90, label="", labelOpts={"position": height})
            self.addItem(line, ignoreBounds=True)
            self._lines.append(line)
        for place, line in enumerate(self._lines):
            line.setVisible(place < len(begins))
            if place < len(begins):
                epoch, name = begins[place]
                line.setPos(epoch)
                line.label.setFormat(name)
        self.restyle()

    def restyle(self) -> None:
        """Take the theme's colours."""
        super().restyle()
        # called once by the base class before there are lines
        for line in getattr(self, "_lines", []):
            line.setPen(pg.mkPen(foreground(self), style=Qt.PenStyle.DashLine))
            line.label.setColor(foreground(self))

    def _curve(self, colour: str, thin: bool) -> pg.PlotDataItem:
        if thin:
            curve = _WholeEpochs(pen=pg.mkPen(colour, width=1))
            curve.setDownsampling(auto=True, method="peak")
            self.addItem(curve)
            return curve
        pen = pg.mkPen(colour, width=2)
        return self.plot(pen=pen, symbol="o", symbolSize=5, symbolBrush=colour, symbolPen=None)


class _WholeEpochs(pg.PlotDataItem):
    """A curve that takes up whole epochs, and of many some more than it has.

    With every batch the plot would have another range, and so would all that are linked with it.
    """

    def dataBounds(self, ax: int, *args: Any, **options: Any) -> Sequence[float | None]:
        low, high = super().dataBounds(ax, *args, **options)
        if ax == 0 and low is not None and high is not None:
            # to an eighth of the epochs that there are
            step = max(2.0 ** math.floor(math.log2(max(high, 1))) / 8, 1.0)
            return math.floor(low), step * math.ceil(high / step)
        return low, high


class HeadPlot(ThemedPlot):
    """Bars: the share of the particles that each head wins."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(_WON, "share (%)", "head", parent)
        self.bars = pg.BarGraphItem(x=[], height=[], width=0.8)
        self.addItem(self.bars)
        self.setYRange(0, 100)

    def set_shares(
        self, shares: Sequence[float], effective: float | None = None, epoch: int | None = None
    ) -> None:
        """Show fractions (0..1), one per head.

        Parameters
        ----------
        shares
            The fractions.
        effective
            The effective number of heads.
        epoch
            Their epoch, from 1, where it is not the last one.
        """
        title = _WON if epoch is None else f"Won by each head in epoch {epoch}, their last"
        number = "" if effective is None else f": {effective:.1f} effective"
        self.say(f"{title}{number}")
        heads = range(len(shares))
        self.bars.setOpts(
            x=[head + 1 for head in heads],
            height=[100 * share for share in shares],
            brushes=[pg.mkBrush(head_colour(head)) for head in heads],
        )
        self.getAxis("bottom").setTicks([[(head + 1, head_label(head)) for head in heads]])
        self.setXRange(0.4, len(shares) + 0.6, padding=0)
        self.setYRange(0, max(100 * max(shares, default=1), 1), padding=0.05)
