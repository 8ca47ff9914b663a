"""The classes of a run as a small table, and how sure their particles are to be of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QTableWidgetItem, QWidget

from napari_cryospin.gui.colours import class_colour, class_label
from napari_cryospin.gui.views.row_table import RowTable
from napari_cryospin.gui.views.themed import ThemedPlot

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS = ("class", "particles", "share", "mean p", "dropped")
_TIPS = (
    "Number of the class, in the colour of its map on the canvas",
    "Particles in use that are most probably of it",
    "Of all particles in use",
    "Mean probability of the class, over these particles",
    "Particles of it that are left out of training",
)
_BINS = 20
_SQUARE = 12


@dataclass(frozen=True)
class ClassMembers:
    """What is known of the class of n particles.

    Parameters
    ----------
    classes
        Class of each, from 0, (n,).
    weights
        Probability of each class, (n, C).
    used
        Which take part in training, (n,).
    """

    classes: NDArray[np.int64]
    weights: NDArray[np.float32]
    used: NDArray[np.bool_]

    @property
    def n_classes(self) -> int:
        """Number C of classes."""
        return int(self.weights.shape[1])

    def own(self, number: int) -> NDArray[np.bool_]:
        """Return which particles in use are of a class, from 0, (n,)."""
        own: NDArray[np.bool_] = self.used & (self.classes == number)
        return own


class ClassTable(RowTable):
    """A row for each class; several may be selected. ``changed`` tells of another selection."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tuple(zip(_COLUMNS, _TIPS, strict=True)), 20, parent)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setMinimumHeight(90)
        self.itemSelectionChanged.connect(self.changed)

    @property
    def selected(self) -> list[int]:
        """Selected classes, from 0, ascending."""
        return sorted(index.row() for index in self.selectionModel().selectedRows())

    def set_members(self, members: ClassMembers | None) -> None:
        """Show the classes; the selection stays."""
        n = 0 if members is None else members.n_classes
        if n != self.rowCount():
            self.setRowCount(n)
            for number in range(n):
                for column in range(len(_COLUMNS)):
                    item = QTableWidgetItem()
                    item.setFlags(Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled)
                    self.setItem(number, column, item)
                square = QPixmap(_SQUARE, _SQUARE)
                square.fill(QColor(class_colour(number)))
                self.item(number, 0).setIcon(QIcon(square))
        for number in range(n):
            assert members is not None
            for column, text in enumerate(_texts(members, number)):
                self.item(number, column).setText(text)


def _texts(members: ClassMembers, number: int) -> tuple[str, ...]:
    own, all_of_it = members.own(number), members.classes == number
    count, used = int(own.sum()), max(int(members.used.sum()), 1)
    sure = f"{members.weights[own, number].mean():.2f}" if count else "–"
    dropped = int((all_of_it & ~members.used).sum())
    return class_label(number), f"{count:,}", f"{100 * count / used:.1f} %", sure, f"{dropped:,}"


class ClassCertainty(ThemedPlot):
    """How many particles of each class have which probability of it."""

    title = "class certainty"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "How sure the class is", "% of the class", "probability of the own class", parent
        )
        self._bars: list[pg.BarGraphItem] = []
        self._counts: dict[str, NDArray[Any]] = {}
        self.setXRange(0, 1, padding=0.02)

    def set_members(self, members: ClassMembers | None) -> None:
        """Show a histogram of each class's particles in use."""
        n = 0 if members is None else members.n_classes
        edges = np.linspace(0, 1, _BINS + 1)
        self._counts = {"from": edges[:-1], "to": edges[1:]}
        while len(self._bars) < n:
            brush = class_colour(len(self._bars))
            self._bars.append(pg.BarGraphItem(x=[], height=[], width=0, brush=brush, pen=None))
            self.addItem(self._bars[-1])
        width = 0.9 / (_BINS * max(n, 1))
        for number, bars in enumerate(self._bars):
            bars.setVisible(number < n)
            if members is not None and number < n:
                # rounded in records, to a little more than 1 as well
                own = members.weights[members.own(number), number].clip(0, 1)
                counts, _ = np.histogram(own, edges)
                share = 100 * counts / max(len(own), 1)
                bars.setOpts(x0=edges[:-1] + number * width, width=width, height=share)
                self._counts[f"class_{class_label(number)}"] = counts

    def graphics(self) -> list[pg.GraphicsView]:
        """Return what a figure shows."""
        return [self]

    def table(self) -> dict[str, NDArray[Any]]:
        """Return particles by class and probability."""
        return self._counts
