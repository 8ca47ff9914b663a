"""The Mollweide heatmap of a posterior, with the heads' candidates on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, Signal
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cryospin.gui.colours import (
    COLOURMAP,
    faint,
    head_colour,
    head_label,
    text_on,
)
from napari_cryospin.gui.views import mollweide
from napari_cryospin.gui.views.sphere_map import SphereMap
from napari_cryospin.gui.views.themed import ColourBar, ThemedWidget
from napari_cryospin.gui.views.trail import TrailItem

if TYPE_CHECKING:
    from numpy.typing import NDArray

# decades below the maximum that the logarithmic scale shows
DECADES = 6
MARKER, SMALL = 15, 9
# opacity of candidates without any weight
_FAINT = 0.35


class Scale(Enum):
    """How probabilities become colours."""

    LOG = "log₁₀ (probability / maximum)"
    LINEAR = "probability / maximum"

    @property
    def label(self) -> str:
        """A short name."""
        return "logarithmic" if self is Scale.LOG else "linear"

    @property
    def levels(self) -> tuple[float, float]:
        """Values of the first and the last colour."""
        return (-DECADES, 0) if self is Scale.LOG else (0, 1)

    def values(
        self, probability: NDArray[np.floating], peak: float | None = None
    ) -> NDArray[np.float32]:
        """Return what is shown for probabilities, within :attr:`levels`.

        They are relative to ``peak``, by default the largest of them.
        """
        peak = float(probability.max()) if peak is None else peak
        relative = probability / max(peak, np.finfo(np.float64).tiny)
        if self is Scale.LINEAR:
            return np.asarray(relative, dtype=np.float32)
        floor = 10.0**-DECADES
        return np.asarray(np.log10(np.maximum(relative, floor)), dtype=np.float32)


@dataclass(frozen=True)
class CandidateMarks:
    """The K candidates of a particle.

    Parameters
    ----------
    directions
        Their view directions (x, y, z), (K, 3).
    heads
        Head of each, which gives its colour, (K,).
    weights
        Weight of each one's mode, in 0..1, (K,): light ones are small and faint.
    numbered
        The best candidate of each mode, (m,): these have their heads' numbers.
    winner
        Which of them won, or −1.
    """

    directions: NDArray[np.floating]
    heads: NDArray[np.integer]
    weights: NDArray[np.floating]
    numbered: NDArray[np.integer]
    winner: int = -1

    @property
    def small(self) -> NDArray[np.int64]:
        """Those without a number, the lightest first."""
        others = np.setdiff1d(np.arange(len(self.heads)), self.numbered)
        return others[np.argsort(self.weights[others], kind="stable")]

    def brush(self, candidate: int) -> QBrush:
        """Return the colour of a candidate without a number."""
        colour = QColor(head_colour(int(self.heads[candidate])))
        colour.setAlphaF(_FAINT + (1 - _FAINT) * float(self.weights[candidate]))
        return QBrush(colour)

    def size(self, candidate: int) -> float:
        """Return the size of a candidate without a number, pixels."""
        return SMALL * (0.6 + 0.4 * float(self.weights[candidate]))


NO_CANDIDATES = CandidateMarks(
    np.empty((0, 3)), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
)


@dataclass(frozen=True)
class Marks:
    """What is known of a particle's pose besides its posterior, as view directions (x, y, z).

    Parameters
    ----------
    candidates
        Its candidates.
    present, truth
        The pose in use, and the true one where it is known, (3,).
    trail
        The poses in use at the recorded epochs, (E, 3).
    decoding
        Which epochs of the trail were auto-decoding, (E,).
    now
        Which of them is shown, an index, or −1.
    """

    candidates: CandidateMarks
    present: NDArray[np.floating] | None = None
    truth: NDArray[np.floating] | None = None
    trail: NDArray[np.floating] = field(default_factory=lambda: np.empty((0, 3)))
    decoding: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    now: int = -1


class MollweideView(ThemedWidget):
    """A heatmap over view directions.

    ``hovered`` says in words what is under the pointer, ``pixel_hovered`` which direction (HEALPix
    pixel, RING; −1: none), ``clicked`` carries the direction (x, y, z) of a click.
    """

    hovered = Signal(str)
    pixel_hovered = Signal(int)
    clicked = Signal(object)
    title = "posterior"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scale = Scale.LOG
        self._probability: NDArray[np.float64] | None = None
        self._psi: NDArray[np.float64] | None = None
        self._nside = 0
        self._pixel = -1
        self._canvas = pg.GraphicsLayoutWidget(parent=self)
        self._canvas.setBackground(None)
        self._canvas.ci.layout.setContentsMargins(0, 0, 0, 0)
        self.map = SphereMap()
        self._canvas.addItem(self.map, row=0, col=0)
        self._bar = ColourBar(COLOURMAP)
        self._bar.setLevels(self.scale.levels)
        self._canvas.addItem(self._bar, row=1, col=0)
        self._add_marks()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._canvas)
        self._canvas.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self._canvas.scene().sigMouseClicked.connect(self._on_mouse_clicked)
        self.restyle()

    def set_posterior(
        self, probability: NDArray[np.float64], nside: int, psi: NDArray[np.float64] | None = None
    ) -> None:
        """Show probabilities of directions (healpy RING order), shape (12 nside²,).

        ``psi`` is the most probable in-plane angle at each of them, degrees.
        """
        self._probability, self._nside, self._psi = probability, nside, psi
        self.map.set_values(self.scale.values(probability), nside, COLOURMAP, self.scale.levels)

    def set_scale(self, scale: Scale) -> None:
        """Choose how probabilities become colours."""
        self.scale = scale
        self._bar.setLevels(scale.levels)
        self._bar.restyle(self, scale.value)
        if self._probability is not None:
            self.set_posterior(self._probability, self._nside, self._psi)

    def set_marks(self, marks: Marks) -> None:
        """Show the candidates, the winner ringed, the present and the true pose."""
        told = marks.candidates
        x, y = _place(told.directions)
        small, numbered = told.small, told.numbered
        self._small.setData(
            x=x[small],
            y=y[small],
            size=[told.size(place) for place in small],
            brush=[told.brush(place) for place in small],
        )
        colours = [pg.mkBrush(head_colour(int(head))) for head in told.heads[numbered]]
        self._candidates.setData(x=x[numbered], y=y[numbered], brush=colours)
        self._number(x[numbered], y[numbered], told.heads[numbered])
        winner = [told.winner] if 0 <= told.winner < len(x) else []
        self._ring.setData(x=x[winner], y=y[winner])
        for item, direction in ((self._present, marks.present), (self._truth, marks.truth)):
            there = np.empty((0, 3)) if direction is None else direction[None]
            item.setData(*_place(there))
        self._trail.set_trail(*_place(marks.trail), marks.decoding, marks.now, longest=1.0)

    def graphics(self) -> list[pg.GraphicsLayoutWidget]:
        """Return what is drawn, for saving."""
        return [self._canvas]

    def table(self) -> dict[str, NDArray[np.float64]]:
        """Return the directions with their probabilities, for saving."""
        assert self._probability is not None
        columns = mollweide.angles_of_pixels(self._nside)
        if self._psi is not None:
            columns["best_psi_deg"] = self._psi
        return {**columns, "probability": self._probability}

    def clear(self) -> None:
        """Show nothing."""
        self._probability = None
        self._pixel = -1
        self.map.clear_values()
        self.set_marks(Marks(NO_CANDIDATES))

    def describe(self, x: float, y: float) -> str:
        """Return the direction and its probability at a map point; empty outside the map."""
        if self._probability is None:
            return ""
        pixel = self.map.pixel_at(x, y)
        if pixel < 0:
            return ""
        rot, tilt = mollweide.unproject(x, y)
        psi = "" if self._psi is None else f", psi {self._psi[pixel]:.0f}°"
        return f"rot {rot:.0f}°, tilt {tilt:.0f}°{psi}: probability {self._probability[pixel]:.3g}"

    def _add_marks(self) -> None:
        self._present, self._truth = pose_marks()
        self._small = pg.ScatterPlotItem(pen=pg.mkPen("k", width=0.5))
        self._candidates = pg.ScatterPlotItem(size=MARKER, pen=pg.mkPen("k", width=1))
        self._ring = pg.ScatterPlotItem(size=MARKER + 7, pen=pg.mkPen("w", width=2), brush=None)
        self._trail = TrailItem(self.map)
        for item in (self._small, self._candidates, self._ring, self._truth, self._present):
            self.map.addItem(item)
        self._numbers: list[pg.TextItem] = []

    def _number(
        self, x: NDArray[np.float64], y: NDArray[np.float64], heads: NDArray[np.integer]
    ) -> None:
        while len(self._numbers) < len(x):
            text = pg.TextItem(anchor=(0.5, 0.5))
            font = self.font()
            font.setPixelSize(10)
            font.setBold(True)
            text.setFont(font)
            self.map.addItem(text)
            self._numbers.append(text)
        for place, text in enumerate(self._numbers):
            text.setVisible(place < len(x))
            if place < len(x):
                head = int(heads[place])
                text.setText(head_label(head), color=text_on(head_colour(head)))
                text.setPos(x[place], y[place])

    def restyle(self) -> None:
        """Take the theme's colours."""
        self.map.restyle(faint(self))
        self._bar.restyle(self, self.scale.value)

    def _on_mouse_moved(self, position: QPointF) -> None:
        point = self.map.mapSceneToView(position)
        self.hovered.emit(self.describe(point.x(), point.y()))
        pixel = self.map.pixel_at(point.x(), point.y())
        if pixel != self._pixel:
            self._pixel = pixel
            self.pixel_hovered.emit(pixel)

    def _on_mouse_clicked(self, event: Any) -> None:
        point = self.map.mapSceneToView(event.scenePos())
        rot, tilt = mollweide.unproject(point.x(), point.y())
        if np.isfinite(rot):
            self.clicked.emit(mollweide.direction_of(float(rot), float(tilt)))


def pose_marks() -> tuple[pg.ScatterPlotItem, pg.ScatterPlotItem]:
    """Return the marks of the present pose and of the true one."""
    present = pg.ScatterPlotItem(size=MARKER, symbol="+", pen=pg.mkPen("k"))
    present.setBrush(pg.mkBrush("#00e5ff"))
    truth = pg.ScatterPlotItem(size=MARKER + 3, symbol="star", pen=pg.mkPen("k"))
    truth.setBrush(pg.mkBrush("w"))
    return present, truth


def _place(directions: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return mollweide.project(*mollweide.angles_of(directions))
