"""The modes of a posterior as a small table: a click looks at one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal, Slot
from qtpy.QtWidgets import QAbstractItemView, QTableWidgetItem, QWidget

from napari_cryospin.gui.colours import head_label
from napari_cryospin.gui.views.row_table import RowTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS = ("mode", "weight", "from A", "rot, tilt, psi", "candidates", "truth")
_TIPS = (
    "Modes by weight, A the heaviest",
    "Share of the probability",
    "Angle between this pose and mode A",
    "RELION angles of the mode's best pose, degrees",
    "Candidates (of heads; modes, hypotheses) whose pose lies in this mode, and how many of each",
    "Whether the true pose lies in this mode",
)


@dataclass(frozen=True)
class ModeRows:
    """The rows: m modes, the heaviest first.

    Parameters
    ----------
    weights
        Shares of the probability, (m,).
    distances
        Angles to the first mode, degrees, (m,).
    angles
        rot, tilt, psi, degrees, (m, 3).
    heads
        Head of each candidate, (K,).
    of_candidates
        Mode that each lies in, (K,); −1: in none.
    truth
        Mode of the true pose, −1: in none; None where it is not known.
    """

    weights: NDArray[np.float64]
    distances: NDArray[np.float64]
    angles: NDArray[np.float64]
    heads: NDArray[np.int64]
    of_candidates: NDArray[np.int64]
    truth: int | None


class ModeTable(RowTable):
    """``chosen`` carries the number of the mode that the user clicks."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tuple(zip(_COLUMNS, _TIPS, strict=True)), 18, parent)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.cellClicked.connect(self._on_clicked)

    def set_modes(self, rows: ModeRows) -> None:
        """Show the modes."""
        self.setColumnHidden(len(_COLUMNS) - 1, rows.truth is None)
        self.setRowCount(len(rows.weights))
        for mode in range(len(rows.weights)):
            for column, text in enumerate(_texts(rows, mode)):
                item = QTableWidgetItem(text)
                item.setFlags(Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled)
                self.setItem(mode, column, item)

    def clear_modes(self) -> None:
        """Show no mode."""
        self.setRowCount(0)

    @Slot(int, int)
    def _on_clicked(self, row: int, _column: int) -> None:
        self.chosen.emit(row)


def mode_letter(mode: int) -> str:
    """Return the letter of a mode (index from 0); heads have numbers."""
    return chr(ord("A") + mode)


def counted(head: int, number: int) -> str:
    """Return a head's number, and how often it says something where that is more than once."""
    return head_label(int(head)) + (f"×{number}" if number > 1 else "")


def _texts(rows: ModeRows, mode: int) -> tuple[str, ...]:
    weight = rows.weights[mode]
    share = f"{100 * weight:.1f} %" if weight > 0.001 else "< 0.1 %"
    heads, numbers = np.unique(rows.heads[rows.of_candidates == mode], return_counts=True)
    said = " ".join(map(counted, heads, numbers))
    return (
        mode_letter(mode),
        share,
        "" if mode == 0 else f"{rows.distances[mode]:.0f}°",
        ", ".join(f"{angle:.0f}°" for angle in rows.angles[mode]),
        said,
        "★" if rows.truth == mode else "",
    )
