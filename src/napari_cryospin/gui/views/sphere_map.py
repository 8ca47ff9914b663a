"""A Mollweide map of numbers by view direction, as one item among others on a canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF

from napari_cryospin.gui.colours import UNSEEN
from napari_cryospin.gui.views import mollweide

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QColor


class SphereMap(pg.ViewBox):
    """The map with its graticule; directions without a number are grey."""

    def __init__(self) -> None:
        super().__init__(lockAspect=True, enableMouse=False, enableMenu=False)
        self.setRange(QRectF(-2.02, -1.02, 4.04, 2.04), padding=0)
        self.image = pg.ImageItem(axisOrder="row-major")
        self.image.setRect(QRectF(-2, -1, 4, 2))
        self._grid = pg.PlotCurveItem(*mollweide.graticule(), connect="finite")
        self.addItem(self.image)
        self.addItem(self._grid)
        self._nside = 0

    def set_values(
        self,
        values: NDArray[np.floating] | NDArray[np.integer],
        nside: int,
        colourmap: str,
        levels: tuple[float, float],
    ) -> None:
        """Colour directions (RING), (12 nside²,), between two levels."""
        self._nside = nside
        table = mollweide.index_table(nside)
        low, high = levels
        share = np.clip((np.asarray(values, float) - low) / max(high - low, 1e-12), 0, 1)
        colours = pg.colormap.get(colourmap).map(np.nan_to_num(share), mode=pg.ColorMap.BYTE)
        colours = np.array(colours, dtype=np.uint8)
        colours[~np.isfinite(share)] = (*pg.mkColor(UNSEEN).getRgb()[:3], 90)
        shown = colours[table]
        shown[table < 0] = 0
        self.image.setImage(shown)
        self.image.setRect(QRectF(-2, -1, 4, 2))

    def clear_values(self) -> None:
        """Show no numbers."""
        self._nside = 0
        self.image.clear()

    def pixel_at(self, x: float, y: float) -> int:
        """Return the HEALPix pixel (RING) at a map point; −1 outside or before there is one."""
        return mollweide.pixel_at(self._nside, x, y) if self._nside else -1

    def restyle(self, lines: QColor) -> None:
        """Draw the graticule in a colour."""
        self._grid.setPen(lines)
