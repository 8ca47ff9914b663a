"""The distribution of views: from where, and how turned, the particles of a stack are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_cryospin.gui.colours import faint, foreground
from napari_cryospin.gui.views import mollweide
from napari_cryospin.gui.views.sphere_map import SphereMap
from napari_cryospin.gui.views.themed import ColourBar, ThemedPlot, ThemedWidget

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLOURMAP = "viridis"
_BINS = 36
_BLUE = "#56B4E9"
NOBODY = "No particle has a pose yet."


class ViewsView(ThemedWidget):
    """Particles per view direction as a map, and a histogram of in-plane angles."""

    title = "views"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._counts: NDArray[np.int64] | None = None
        self._nside = 0
        self._canvas = pg.GraphicsLayoutWidget(parent=self)
        self._canvas.setBackground(None)
        self._canvas.ci.layout.setContentsMargins(0, 0, 0, 0)
        self._canvas.setMinimumHeight(200)
        self.map = SphereMap()
        self._canvas.addItem(self.map, row=0, col=0)
        self._bar = ColourBar(_COLOURMAP)
        self._canvas.addItem(self._bar, row=1, col=0)
        self._canvas.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self.text, self.hover = QLabel("", self), QLabel("", self)
        self.text.setWordWrap(True)
        self.in_plane = ThemedPlot("In-plane angles", "particles", "psi (°)", self)
        self._histogram = pg.BarGraphItem(x=[], height=[], width=360 / _BINS, brush=_BLUE)
        self._uniform = pg.InfiniteLine(angle=0, label="uniform", labelOpts={"position": 0.1})
        self.in_plane.addItem(self._histogram)
        self.in_plane.addItem(self._uniform)
        self.in_plane.getAxis("bottom").setTickSpacing(90, 30)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.text)
        layout.addWidget(self._canvas, 3)
        layout.addWidget(self.hover)
        layout.addWidget(self.in_plane, 2)
        self.restyle()

    def set_views(
        self,
        counts: NDArray[np.int64],
        nside: int,
        sampling: float | None = None,
        nobody: str = NOBODY,
    ) -> None:
        """Show the particles of each direction (RING), (12 nside²,), and how evenly they sample.

        ``nobody`` says why there are none, where there are none.
        """
        self._counts, self._nside = counts, nside
        levels = (0.0, float(max(counts.max(), 1)))
        self.map.set_values(counts, nside, _COLOURMAP, levels)
        self._bar.setLevels(levels)
        self.text.setText(describe(counts, sampling, nobody))

    def set_in_plane(self, psi: NDArray[np.floating]) -> None:
        """Show the in-plane angles of the particles, degrees, (n,)."""
        counts, edges = np.histogram(np.asarray(psi) % 360, _BINS, (0, 360))
        self._histogram.setOpts(x=(edges[:-1] + edges[1:]) / 2, height=counts)
        self._uniform.setPos(len(psi) / _BINS)
        self.in_plane.setXRange(0, 360, padding=0)
        self.in_plane.setYRange(0, max(int(counts.max()), 1), padding=0.05)

    def graphics(self) -> list[pg.GraphicsView]:
        """Return what is drawn, for saving."""
        return [self._canvas, self.in_plane]

    def table(self) -> dict[str, NDArray[np.generic]]:
        """Return the particles of each direction, for saving."""
        if self._counts is None:
            return {}
        return {**mollweide.angles_of_pixels(self._nside), "particles": self._counts}

    def describe(self, x: float, y: float) -> str:
        """Return the direction and its particles at a map point; empty outside the map."""
        pixel = self.map.pixel_at(x, y)
        if pixel < 0 or self._counts is None:
            return ""
        rot, tilt = mollweide.unproject(x, y)
        return f"rot {rot:.0f}°, tilt {tilt:.0f}°: {self._counts[pixel]:,} particles"

    def restyle(self) -> None:
        """Take the theme's colours."""
        self.map.restyle(faint(self))
        self.in_plane.restyle()
        self._uniform.setPen(pg.mkPen(foreground(self), style=Qt.PenStyle.DashLine))
        self._uniform.label.setColor(foreground(self))
        self._bar.restyle(self, "particles per direction")

    def _on_mouse_moved(self, position: QPointF) -> None:
        point = self.map.mapSceneToView(position)
        self.hover.setText(self.describe(point.x(), point.y()))


def describe(counts: NDArray[np.int64], sampling: float | None = None, nobody: str = NOBODY) -> str:
    """Return in words how evenly particles are spread over directions, (12 nside²,).

    ``sampling`` is the sampling compensation factor of their views; ``nobody`` is what is said
    where there are none.
    """
    total, cells = int(counts.sum()), len(counts)
    if total == 0:
        return nobody
    crowded = counts.max() / (total / cells)
    empty = int((counts == 0).sum())
    told = (
        f"{total:,} particles · most crowded direction {crowded:.1f} × the mean · "
        f"{empty} of {cells} directions empty"
    )
    if sampling is None:
        return told
    return f"{told} · sampling compensation factor {sampling:.2f} (1: even, 0.81: side views alone)"
