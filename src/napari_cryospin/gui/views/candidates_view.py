"""The candidates of one particle: what each would mean, at one grey scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from napari_cryospin.gui.colours import foreground, head_colour, head_label
from napari_cryospin.gui.views.image_box import add_image_box, image_in
from napari_cryospin.gui.views.themed import ThemedWidget

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PER_LINE = 4
_ROWS = ("particle", "projection × CTF", "difference")
_IMAGE, _TITLE = 84, 60


@dataclass(frozen=True)
class Candidates:
    """What the view shows of one particle: the m modes of its candidates.

    Parameters
    ----------
    image
        The particle, (D, D).
    projections
        CTF-multiplied projections at the best candidate of each mode, (m, D, D).
    losses
        Their losses, (m,).
    weights
        Probabilities of the modes, in 0..1, (m,); None where they are not known.
    heads
        Of each mode, the heads that say it and how many candidates of each do, m of them; the first
        is the head of its best candidate.
    numbers
        How many candidates each mode has, (m,).
    winner
        Mode of the winning candidate, or −1.
    to_best, to_truth
        Angle of each pose to the posterior's best and to the true one, degrees, (m,); None where
        that is not known.
    """

    image: NDArray[np.float32]
    projections: NDArray[np.float32]
    losses: NDArray[np.float32]
    weights: NDArray[np.float64] | None
    heads: tuple[dict[int, int], ...]
    numbers: NDArray[np.int64]
    winner: int
    to_best: NDArray[np.float64]
    to_truth: NDArray[np.float64] | None = None


class CandidatesView(ThemedWidget):
    """For each mode a column: its weight and who says it; particle, projection, difference."""

    title = "candidates"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = pg.GraphicsLayoutWidget(parent=self)
        self._canvas.setBackground(None)
        self._canvas.ci.layout.setContentsMargins(0, 0, 0, 0)
        self._canvas.ci.layout.setSpacing(2)
        self._labels: list[pg.LabelItem] = []
        self._images: list[list[pg.ImageItem]] = []
        self._rings: list[pg.ViewBox] = []
        self._shown: Candidates | None = None
        area = QScrollArea(self)
        area.setWidgetResizable(True)
        area.setWidget(self._canvas)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)

    def set_candidates(self, shown: Candidates) -> None:
        """Show the candidates; the particle decides the grey scale of all images."""
        self._shown = shown
        if len(self._images) != len(shown.projections):
            self._lay_out(len(shown.projections))
        levels = tuple(np.percentile(shown.image, (0.5, 99.5)))
        for head, items in enumerate(self._images):
            projection = shown.projections[head]
            for item, image in zip(
                items, (shown.image, projection, shown.image - projection), strict=True
            ):
                item.setImage(image, levels=levels)
        self.restyle()

    def clear(self) -> None:
        """Show nothing."""
        self._shown = None
        self._lay_out(0)

    def graphics(self) -> list[pg.GraphicsLayoutWidget]:
        """Return what is drawn, for saving."""
        return [self._canvas]

    def table(self) -> dict[str, NDArray[Any]]:
        """Return the figures of the candidates, for saving."""
        shown = self._shown
        if shown is None:
            return {}
        modes = np.arange(len(shown.losses))
        columns = {
            "mode": modes + 1,
            "head": np.array([next(iter(heads)) + 1 for heads in shown.heads]),
            "candidates": shown.numbers,
            "heads": np.array([len(heads) for heads in shown.heads]),
            "loss": shown.losses,
            "winner": (modes == shown.winner).astype(int),
            "to_best_pose_deg": shown.to_best,
        }
        if shown.weights is not None:
            columns["weight"] = shown.weights
        return columns if shown.to_truth is None else {**columns, "error_deg": shown.to_truth}

    def restyle(self) -> None:
        """Take the theme's colours."""
        if self._shown is None:
            return
        for mode, label in enumerate(self._labels):
            label.setText(self._describe(mode), size="8pt", color=foreground(self))
            won = mode == self._shown.winner
            colour = head_colour(next(iter(self._shown.heads[mode]))) if won else None
            for ring in self._rings[3 * mode : 3 * mode + 3]:
                ring.setBorder(pg.mkPen(colour, width=2) if won else None)

    def _describe(self, mode: int) -> str:
        shown = self._shown
        assert shown is not None
        won = "○ " if mode == shown.winner else ""
        error = "" if shown.to_truth is None else f"<br>error {shown.to_truth[mode]:.0f}°"
        weight = "" if shown.weights is None else f"<b>{_percent(shown.weights[mode])}</b> · "
        number = shown.numbers[mode]
        many = f" ({number})" if number > sum(shown.heads[mode].values()) else ""
        return (
            f"{_said_by(shown.heads[mode])}{many}<br>"
            f"{won}{weight}loss {_loss(shown.losses[mode])}<br>"
            f"{shown.to_best[mode]:.0f}° from best{error}"
        )

    def _lay_out(self, n_heads: int) -> None:
        self._canvas.clear()
        self._labels, self._images, self._rings = [], [], []
        for head in range(n_heads):
            first, column = (len(_ROWS) + 1) * (head // _PER_LINE), head % _PER_LINE
            self._labels.append(self._canvas.addLabel("", row=first, col=column))
            self._canvas.ci.layout.setRowFixedHeight(first, _TITLE)
            self._canvas.ci.layout.setColumnStretchFactor(column, 1)
            self._canvas.ci.layout.setColumnPreferredWidth(column, _IMAGE)
            boxes = [self._box(first + 1 + row, column) for row in range(len(_ROWS))]
            self._images.append([image_in(box) for box in boxes])
            self._rings += boxes
        lines = -(-n_heads // _PER_LINE)
        self._canvas.setMinimumHeight(lines * (3 * _IMAGE + _TITLE + 24))

    def _box(self, row: int, column: int) -> pg.ViewBox:
        box = add_image_box(self._canvas, row, column)
        box.setToolTip(_ROWS[(row % (len(_ROWS) + 1)) - 1])
        return box


def _said_by(heads: dict[int, int]) -> str:
    """Return who says a mode: a coloured number for each head, and how often it does."""
    return " ".join(
        f'<span style="color: {head_colour(head)}">●</span><b>{head_label(head)}</b>'
        + (f"×{number}" if number > 1 else "")
        for head, number in heads.items()
    )


def _percent(weight: float) -> str:
    return f"{100 * weight:.0f} %" if weight >= 0.005 else "&lt; 1 %"


def _loss(loss: float) -> str:
    return f"{loss:.4g}" if np.isfinite(loss) else "–"
