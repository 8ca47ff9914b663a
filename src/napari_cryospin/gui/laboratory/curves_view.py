"""Curves of several runs: what was measured of each, against epochs or seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor

from napari_cryospin.engine.experiments.comparison import Axis, Curve, Measure
from napari_cryospin.gui.colours import foreground
from napari_cryospin.gui.views.themed import ThemedPlot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    from napari_cryospin.engine.experiments.comparison import SwitchErrors

_BAND = 60
# width of the ends of error bars, as a share of the curve's
_BEAM = 0.02
# curves of which each has a line in the legend
_MOST_NAMED = 12


class _Legend(ThemedPlot):
    """A plot with a legend, drawn anew as a whole."""

    def __init__(self, title: str, left: str, bottom: str, parent: QWidget | None = None) -> None:
        self._legend: pg.LegendItem | None = None
        super().__init__(title, left, bottom, parent)
        self.title = title
        self._legend = self.addLegend(offset=(-8, 4), labelTextSize="8pt", verSpacing=-4)
        self.setMinimumHeight(160)
        self.restyle()

    def restyle(self) -> None:
        """Take the theme's colours."""
        super().restyle()
        if self._legend is not None:
            self._legend.setLabelTextColor(foreground(self))
            # the names that stand there already
            for _, label in self._legend.items:
                label.setText(label.text, color=foreground(self))

    def set_title(self, title: str, left: str, bottom: str) -> None:
        """Say what is drawn."""
        self.title = title
        self._title, self._labels = title, {"left": left, "bottom": bottom}
        self.restyle()

    def graphics(self) -> list[pg.GraphicsView]:
        """Return what is drawn, for saving."""
        return [self]

    def _named(self, name: str, number: int) -> str | None:
        return name if number <= _MOST_NAMED else None


class CurvesView(_Legend):
    """One curve per run or group, with a band between its quartiles and a mark at each switch."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Loss", "", "epoch", parent)
        self._curves: list[Curve] = []

    def show_curves(
        self, measure: Measure, axis: Axis, curves: Sequence[tuple[Curve, str]]
    ) -> None:
        """Draw curves, each with its colour."""
        self._curves = [curve for curve, _ in curves]
        bottom = "epoch" if axis is Axis.EPOCH else "seconds of training"
        self.set_title(str(measure), f"{str(measure).lower()} ({measure.unit})", bottom)
        self.clear()
        for curve, colour in curves:
            if len(curve.x):
                self._draw(curve, colour, len(curves))
        self.autoRange()

    def _draw(self, curve: Curve, colour: str, number: int) -> None:
        if curve.low is not None and curve.high is not None:
            faint = QColor(colour)
            faint.setAlpha(_BAND)
            low, high = (pg.PlotDataItem(curve.x, each) for each in (curve.low, curve.high))
            self.addItem(pg.FillBetweenItem(low, high, brush=faint))
        told = f"{curve.name} ({curve.number})" if curve.number > 1 else curve.name
        self.plot(
            curve.x,
            curve.y,
            pen=pg.mkPen(colour, width=2),
            symbol="o",
            symbolSize=4,
            symbolBrush=colour,
            symbolPen=None,
            name=self._named(told, number),
        )
        # where it switched, on the curve
        inside = [x for x in curve.switches if curve.x[0] <= x <= curve.x[-1]]
        if inside:
            marks = pg.ScatterPlotItem(
                inside,
                np.interp(inside, curve.x, curve.y),
                symbol="d",
                size=11,
                brush=colour,
                pen=pg.mkPen(foreground(self)),
            )
            self.addItem(marks)

    def table(self) -> dict[str, NDArray[np.generic]]:
        """Return the curves below each other, for saving."""
        names, x, y, low, high = [], [], [], [], []
        for curve in self._curves:
            names.append(np.full(len(curve.x), curve.name))
            x.append(curve.x)
            y.append(curve.y)
            nothing = np.full(len(curve.x), np.nan)
            low.append(nothing if curve.low is None else curve.low)
            high.append(nothing if curve.high is None else curve.high)
        if not names:
            return {}
        return {
            "run": np.concatenate(names),
            self._labels["bottom"]: np.concatenate(x),
            self._labels["left"]: np.concatenate(y),
            "lower quartile": np.concatenate(low),
            "upper quartile": np.concatenate(high),
        }


class SwitchView(_Legend):
    """Final error against the epoch of the switch."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "Final error against switch epoch",
            "mean pose error (°)",
            "epoch",
            parent,
        )
        # epochs are counted, under another name
        self.set_title(
            self.title, "mean pose error (°)", "epochs of auto-encoding before the switch"
        )
        self._errors: list[SwitchErrors] = []

    def show_errors(self, errors: Mapping[str, SwitchErrors], colours: Sequence[str]) -> None:
        """Draw medians with their quartiles; stars for the criterion, a line for no switch."""
        self._errors = list(errors.values())
        self.clear()
        for one, colour in zip(errors.values(), colours, strict=False):
            self._draw(one, colour, len(errors))
        self.autoRange()

    def _draw(self, errors: SwitchErrors, colour: str, number: int) -> None:
        curve, alone = errors.curve, number == 1
        pen = pg.mkPen(colour, width=2)
        if len(curve.x):
            assert curve.low is not None and curve.high is not None
            bars = pg.ErrorBarItem(
                x=curve.x,
                y=curve.y,
                top=curve.high - curve.y,
                bottom=curve.y - curve.low,
                beam=_BEAM * max(float(np.ptp(curve.x)), 1.0),
                pen=pen,
            )
            self.addItem(bars)
            name = "median and quartiles" if alone else curve.name
            self.plot(
                curve.x,
                curve.y,
                pen=pen,
                symbol="o",
                symbolSize=7,
                symbolBrush=colour,
                symbolPen=None,
                name=self._named(name, number),
            )
        if len(errors.automatic):
            stars = pg.ScatterPlotItem(
                *errors.automatic.T,
                symbol="star",
                size=15,
                brush=colour,
                pen=pg.mkPen(foreground(self)),
                name="by the criterion (auto)" if alone else None,
            )
            self.addItem(stars)
        if errors.never is not None:
            dashed = pg.mkPen(colour, width=2, style=Qt.PenStyle.DashLine)
            line = pg.InfiniteLine(errors.never, angle=0, pen=dashed)
            self.addItem(line)
            if alone:
                self.plot([], [], pen=dashed, name="never switched")

    def table(self) -> dict[str, NDArray[np.generic]]:
        """Return the points, for saving."""
        rows: list[tuple[str, str, float, float, float, float]] = []
        nothing = float("nan")
        for one in self._errors:
            curve, name = one.curve, one.curve.name
            assert curve.low is not None and curve.high is not None
            rows += [
                (name, "fixed", *values)
                for values in zip(curve.x, curve.y, curve.low, curve.high, strict=True)
            ]
            rows += [(name, "auto", x, y, nothing, nothing) for x, y in one.automatic]
            if one.never is not None:
                rows.append((name, "never", nothing, one.never, nothing, nothing))
        if not rows:
            return {}
        names = (
            "runs",
            "switch",
            "switched after (epochs)",
            "mean pose error (deg)",
            "lower quartile",
            "upper quartile",
        )
        columns = zip(*rows, strict=True)
        return {name: np.array(each) for name, each in zip(names, columns, strict=True)}
