"""The way of a particle's pose over the epochs, drawn on a map of directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg

from napari_cryospin.gui.colours import DECODING, ENCODING

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TrailItem:
    """A line through the poses of the epochs, in one colour for each stage, with the one shown.

    Parameters
    ----------
    view
        Where the items are added.
    """

    def __init__(self, view: pg.ViewBox) -> None:
        self._encoding, self._decoding = _line(ENCODING), _line(DECODING)
        self._now = pg.ScatterPlotItem(size=9, symbol="s", pen=pg.mkPen("k"), brush=pg.mkBrush("w"))
        for item in (self._encoding, self._decoding, self._now):
            view.addItem(item)

    def set_trail(
        self,
        x: NDArray[np.floating],
        y: NDArray[np.floating],
        decoding: NDArray[np.bool_],
        now: int,
        *,
        longest: float,
    ) -> None:
        """Show the way through map points (E,).

        ``decoding`` says which belong to auto-decoding, ``now`` which one is marked (−1: none).
        Where a step is longer than ``longest`` the line has a gap: it runs over the map's edge.
        """
        # the step into the first epoch of auto-decoding belongs to it
        first = int(np.argmax(decoding)) if decoding.any() else len(x)
        _set(self._encoding, x[:first], y[:first], longest)
        start = max(first - 1, 0)
        _set(self._decoding, x[start:], y[start:], longest)
        marked = [now] if 0 <= now < len(x) and np.isfinite(x[now]) else []
        self._now.setData(x=x[marked], y=y[marked])


def _line(colour: str) -> pg.PlotDataItem:
    return pg.PlotDataItem(
        pen=pg.mkPen(colour, width=1.5),
        symbol="o",
        symbolSize=4,
        symbolBrush=colour,
        symbolPen=None,
    )


def _set(
    line: pg.PlotDataItem, x: NDArray[np.floating], y: NDArray[np.floating], longest: float
) -> None:
    if np.isfinite(x).any():
        line.setData(x, y, connect=_near(x, y, longest))
    else:
        line.setData([], [])


def _near(x: NDArray[np.floating], y: NDArray[np.floating], longest: float) -> NDArray[np.int32]:
    """Return which points are joined to the next one, as pyqtgraph wants it, (E,)."""
    joined = np.zeros(len(x), dtype=np.int32)
    with np.errstate(invalid="ignore"):
        joined[:-1] = np.hypot(np.diff(x), np.diff(y)) < longest
    return joined
