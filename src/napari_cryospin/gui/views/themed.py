"""Widgets and plots in the theme's colours, which follow it when it changes."""

from __future__ import annotations

import pyqtgraph as pg
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_cryospin.gui.colours import faint, foreground


class ThemedWidget(QWidget):
    """A widget that draws in the theme's colours."""

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self.restyle()

    def restyle(self) -> None:
        """Take the theme's colours."""
        raise NotImplementedError


class CountingAxis(pg.AxisItem):
    """An axis of what is counted, such as epochs: there is no epoch 3.5."""

    def tickSpacing(self, low: float, high: float, pixels: float) -> list[tuple[float, float]]:
        """Return the distances of marks and their offset, those of whole numbers alone."""
        found: list[tuple[float, float]] = super().tickSpacing(low, high, pixels)
        return [(spacing, offset) for spacing, offset in found if spacing >= 1] or [(1.0, 0.0)]


class ThemedPlot(pg.PlotWidget):
    """A compact plot that follows the theme and leaves the mouse wheel to the dock.

    Parameters
    ----------
    title
        What is plotted.
    left, bottom
        The axes, with their units; epochs are counted.
    axis
        An axis at the bottom of another kind.
    """

    def __init__(
        self,
        title: str,
        left: str,
        bottom: str,
        parent: QWidget | None = None,
        axis: pg.AxisItem | None = None,
    ) -> None:
        axis = CountingAxis("bottom") if bottom == "epoch" else axis
        axes = None if axis is None else {"bottom": axis}
        super().__init__(parent=parent, background=None, axisItems=axes)
        self._title, self._labels = title, {"left": left, "bottom": bottom}
        item = self.getPlotItem()
        item.setMouseEnabled(x=False, y=False)
        item.hideButtons()
        item.setMenuEnabled(False)
        item.getAxis("left").setWidth(52)
        # the label of an axis stands 5 pixels below what the layout gives it
        item.layout.setContentsMargins(1, 1, 1, 5)
        for side in ("left", "bottom"):
            item.getAxis(side).enableAutoSIPrefix(False)
        self.setMinimumHeight(125)
        self.setMinimumWidth(150)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.restyle()

    def say(self, title: str) -> None:
        """Change the title."""
        if title != self._title:
            self._title = title
            self.restyle()

    def restyle(self) -> None:
        """Take the theme's colours."""
        colour = foreground(self).name()
        for name, text in self._labels.items():
            axis = self.getAxis(name)
            axis.setPen(faint(self, 150))
            axis.setTextPen(colour)
            axis.setLabel(text, color=colour)
        self.getPlotItem().setTitle(self._title, color=colour, size="9pt")

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self.restyle()

    def wheelEvent(self, event: object) -> None:
        """Leave the wheel to the scroll area around the plot."""
        event.ignore()  # type: ignore[attr-defined]


class ColourBar(pg.ColorBarItem):
    """A bar below a map that says which colour stands for what."""

    def __init__(self, colourmap: str) -> None:
        super().__init__(
            colorMap=pg.colormap.get(colourmap), orientation="h", interactive=False, width=9
        )

    def restyle(self, widget: QWidget, text: str) -> None:
        """Take the colours of a widget, and say what is shown."""
        axis = self.getAxis("bottom")
        axis.setTextPen(foreground(widget))
        axis.setPen(faint(widget, 150))
        self.setLabel("bottom", text, color=foreground(widget).name())
