"""The gnomonic zoom: the refined posterior around one mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cryospin.gui.colours import COLOURMAP, faint, foreground, head_colour
from napari_cryospin.gui.views import gnomonic, mollweide
from napari_cryospin.gui.views.mollweide_view import MARKER, NO_CANDIDATES, Marks, Scale, pose_marks
from napari_cryospin.gui.views.themed import ThemedWidget
from napari_cryospin.gui.views.trail import TrailItem

if TYPE_CHECKING:
    from numpy.typing import NDArray

RADIUS = 15.0


class ZoomView(ThemedWidget):
    """A patch of the sphere, degrees from its centre, with the marks that lie on it."""

    title = "zoom"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scale = Scale.LOG
        self.radius = RADIUS
        self.centre: NDArray[np.float64] | None = None
        self._data: tuple[NDArray[np.int64], NDArray[np.float64], int] | None = None
        self._marks = Marks(NO_CANDIDATES)
        self._plot = pg.PlotWidget(parent=self, background=None)
        self._build()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot)
        self.restyle()

    def _build(self) -> None:
        item = self._plot.getPlotItem()
        item.setMouseEnabled(x=False, y=False)
        item.hideButtons()
        item.setMenuEnabled(False)
        item.getViewBox().setAspectLocked(True)
        item.getAxis("left").setWidth(26)
        for side in ("left", "bottom"):
            item.getAxis(side).setTickSpacing(10, 5)
        self.image = pg.ImageItem(axisOrder="row-major")
        self.image.setColorMap(pg.colormap.get(COLOURMAP))
        self._plot.addItem(self.image)
        self._trail = TrailItem(self._plot)
        self._points = pg.ScatterPlotItem(pen=pg.mkPen("k", width=1))
        self._present, self._truth = pose_marks()
        for item in (self._points, self._truth, self._present):
            self._plot.addItem(item)

    def set_posterior(
        self, pixels: NDArray[np.int64], probability: NDArray[np.float64], nside: int
    ) -> None:
        """Show probabilities of fine directions (NEST pixels, ascending)."""
        self._data = (pixels, probability, nside)
        self._draw()

    def set_centre(self, direction: NDArray[np.floating]) -> None:
        """Put a view direction (x, y, z) into the middle."""
        self.centre = np.asarray(direction, dtype=np.float64)
        self._draw()
        self.set_marks(self._marks)

    def set_scale(self, scale: Scale) -> None:
        """Choose how probabilities become colours."""
        self.scale = scale
        self._draw()

    def set_marks(self, marks: Marks) -> None:
        """Show what is known of the particle's pose, where it lies on the patch."""
        self._marks = marks
        if self.centre is None:
            return
        told = marks.candidates
        x, y = gnomonic.project(told.directions, self.centre)
        small = told.small[np.isfinite(x[told.small])]
        numbered = told.numbered[np.isfinite(x[told.numbered])]
        colours = [pg.mkBrush(head_colour(int(head))) for head in told.heads[numbered]]
        self._points.setData(
            x=np.append(x[small], x[numbered]),
            y=np.append(y[small], y[numbered]),
            size=[told.size(place) for place in small] + [MARKER - 4] * len(numbered),
            brush=[told.brush(place) for place in small] + colours,
        )
        for item, direction in ((self._present, marks.present), (self._truth, marks.truth)):
            there = np.empty((0, 3)) if direction is None else direction[None]
            x, y = gnomonic.project(there, self.centre)
            item.setData(x=x[np.isfinite(x)], y=y[np.isfinite(x)])
        trail = gnomonic.project(marks.trail, self.centre)
        self._trail.set_trail(*trail, marks.decoding, marks.now, longest=2 * self.radius)

    def clear(self) -> None:
        """Show nothing."""
        self._data = self.centre = None
        self.image.clear()
        for item in (self._points, self._present, self._truth):
            item.clear()

    def graphics(self) -> list[pg.PlotWidget]:
        """Return what is drawn, for saving."""
        return [self._plot]

    def table(self) -> dict[str, NDArray[np.float64]]:
        """Return the fine directions with their probabilities, for saving."""
        assert self._data is not None
        pixels, probability, nside = self._data
        columns = mollweide.angles_of_pixels(nside, pixels, nest=True)
        return {**columns, "probability": probability}

    def restyle(self) -> None:
        """Take the theme's colours."""
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(faint(self, 150))
            axis.setTextPen(foreground(self))
        item = self._plot.getPlotItem()
        item.setTitle("° from the mode", color=foreground(self).name(), size="8pt")

    def _draw(self) -> None:
        if self._data is None or self.centre is None:
            return
        image = gnomonic.patch(*self._data, self.centre, self.radius)
        self.image.setImage(self.scale.values(image), levels=self.scale.levels)
        side = 2 * self.radius
        self.image.setRect(QRectF(-self.radius, -self.radius, side, side))
        self._plot.setRange(QRectF(-self.radius, -self.radius, side, side), padding=0)
