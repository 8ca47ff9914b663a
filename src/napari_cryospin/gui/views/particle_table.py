"""All particles as a table that sorts: figures of each, a selection to save or to drop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QItemSelection, QItemSelectionModel, Qt, Signal, Slot
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import (
    QAbstractItemView,
    QLabel,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_cryospin.gui.views.belongs_buttons import MARKS, BelongsButtons
from napari_cryospin.gui.views.flowing import turning_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyqtgraph as pg
    from numpy.typing import NDArray
    from qtpy.QtCore import QModelIndex


@dataclass(frozen=True)
class _Column:
    """A column: its key, its name for people and in files, its decimals, and what it means."""

    key: str
    name: str
    file_name: str
    decimals: int
    tip: str


_COLUMNS = (
    _Column("particle", "particle", "particle", 0, "Row of the particle table, from 1"),
    _Column(
        "entropy",
        "entropy",
        "entropy_nats",
        2,
        "Entropy of the pose posterior on the grid, nats: 0 means one pose alone",
    ),
    _Column("modes", "modes", "modes", 0, "Modes with at least 5 % of the probability"),
    _Column("loss", "loss", "loss", 4, "Error per Fourier coefficient at the present pose"),
    _Column("scale", "scale", "scale", 2, "What the map is multiplied with to fit the particle"),
    _Column(
        "membership",
        "belongs",
        "membership",
        2,
        "Probability that the image shows the particle, by which it is weighed; a low one tells "
        "junk. ✓ or ✗: it was said by hand",
    ),
    _Column(
        "log_likelihood",
        "log-\nlikelihood",
        "log_likelihood_nats",
        0,
        "Of the particle at its pose, nats more than without a map, at the end of the last epoch",
    ),
    _Column(
        "explained",
        "explained",
        "explained",
        2,
        "Share of the particle's power beyond the noise that the map explained at the end of the "
        "last epoch",
    ),
    _Column(
        "class",
        "class",
        "class",
        0,
        "Class whose map the particle is posed by: the most probable one",
    ),
    _Column(
        "class_probability",
        "p of\nclass",
        "class_probability",
        2,
        "Probability of that class, given all maps",
    ),
    _Column(
        "disagreement",
        "candidates\n(°)",
        "candidate_disagreement_deg",
        1,
        "Mean angle between the heads' best poses, the modes found, or the hypotheses",
    ),
    _Column("error", "error\n(°)", "pose_error_deg", 1, "Angle to the true pose, after alignment"),
    _Column("used", "used", "used", 0, "Whether the particle takes part in training"),
)
_USED = len(_COLUMNS) - 1
# least width of a column, and what is left beside its name, pixels
_NARROWEST, _MARGIN = 48, 12


class ParticleTableModel(QAbstractTableModel):
    """Columns as arrays, shown in any order of the rows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.columns: dict[str, NDArray[Any]] = {}
        self.order = np.empty(0, dtype=np.int64)
        self._sorted_by = (0, Qt.SortOrder.AscendingOrder)

    def set_columns(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Replace the columns, all of n rows; the order of sorting stays."""
        n = len(columns["particle"])
        reset = n != len(self.order)
        if reset:
            self.beginResetModel()
        else:
            self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        held = [(self.particle_at(index.row()), index.column()) for index in before]
        self.columns = dict(columns)
        self._arrange()
        if reset:
            self.endResetModel()
            return
        place = self.places()
        after = [self.index(int(place[particle]), column) for particle, column in held]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def places(self) -> NDArray[np.int64]:
        """Return the row at which each particle stands, (n,)."""
        place = np.empty_like(self.order)
        place[self.order] = np.arange(len(self.order))
        return place

    def particle_at(self, row: int) -> int:
        """Return the particle in a row."""
        return int(self.order[row])

    def known(self, column: int) -> bool:
        """Return whether a column holds any number."""
        values = self.columns.get(_COLUMNS[column].key)
        return values is not None and bool(np.isfinite(values).any())

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of particles."""
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns, hidden ones too."""
        return 0 if parent is not None and parent.isValid() else len(_COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell, and its alignment."""
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        column = _COLUMNS[index.column()]
        values = self.columns.get(column.key)
        if values is None:
            return ""
        value = values[self.order[index.row()]]
        if index.column() == _USED:
            return "✓" if value else "dropped"
        text = f"{value:.{column.decimals}f}" if np.isfinite(value) else "–"
        if column.key == "membership" and (said := self.columns.get("by_hand")) is not None:
            text += MARKS[int(said[self.order[index.row()]])]
        return text

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return the name of a column, and what it means as its tool tip."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return _COLUMNS[section].name
            if role == Qt.ItemDataRole.ToolTipRole:
                return _COLUMNS[section].tip
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; particles without a number come last."""
        self._sorted_by = (column, order)
        if self.columns:
            self.set_columns(self.columns)

    def _arrange(self) -> None:
        column, order = self._sorted_by
        n = len(self.columns["particle"])
        values = self.columns.get(_COLUMNS[column].key)
        if values is None:
            self.order = np.arange(n)
            return
        keys = np.asarray(values, dtype=np.float64)
        if order == Qt.SortOrder.DescendingOrder:
            keys = -keys
        # NaN is sorted to the end
        self.order = np.argsort(keys, kind="stable")


class ParticleTableView(QWidget):
    """The table with its buttons.

    ``particle_chosen`` carries the particle of the row that the user goes to; the others carry the
    selected particles, an int64 array.
    """

    particle_chosen = Signal(int)
    save_asked = Signal(object)
    drop_asked = Signal(object)
    restore_asked = Signal()
    title = "particles"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = ParticleTableModel(self)
        self.view = QTableView(self)
        self.view.setModel(self.model)
        self.view.setSortingEnabled(True)
        self.view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.view.verticalHeader().setVisible(False)
        self.view.verticalHeader().setDefaultSectionSize(20)
        self._make_names_readable()
        self.view.selectionModel().selectionChanged.connect(self._on_selection)
        self.view.selectionModel().currentRowChanged.connect(self._on_current)
        self._choosing = self.can_undo = False
        self._build()

    def _make_names_readable(self) -> None:
        """Make columns as wide as names and numbers; the table scrolls where not all have room."""
        header = self.view.horizontalHeader()
        header.setMinimumSectionSize(_NARROWEST)
        header.setStretchLastSection(True)
        font = header.font()
        # as the header of a column that is in use is drawn
        font.setBold(True)
        metrics = QFontMetrics(font)
        for place, column in enumerate(_COLUMNS):
            texts = (*column.name.split("\n"), f"{0:.{column.decimals}f}")
            header.resizeSection(place, max(map(metrics.horizontalAdvance, texts)) + _MARGIN)

    def _build(self) -> None:
        self.count = QLabel("", self)
        self.save = QPushButton("Save as STAR…", self)
        self.save.setToolTip("Save the selected particles with their present poses")
        self.drop = QPushButton("Drop", self)
        self.drop.setToolTip("Leave the selected particles out of training from the next epoch on")
        self.restore = QPushButton("Use all", self)
        self.restore.setToolTip("Use all particles in training again")
        self.save.clicked.connect(self._on_save)
        self.drop.clicked.connect(self._on_drop)
        self.restore.clicked.connect(self.restore_asked)
        self.buttons = BelongsButtons(self)
        row = turning_row(
            self, self.save, self.drop, self.restore, self.count, *self.buttons.widgets
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.view, 1)
        layout.addLayout(row)
        self._hide_unknown()
        self._on_selection()

    def set_columns(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Show columns by their keys; sorting, selection and the place in view stay.

        Parameters
        ----------
        columns
            ``particle`` and any of entropy (nats), modes, loss, scale, membership, class (from 1),
            class_probability, log_likelihood (nats), explained, disagreement and error (degrees),
            used, by_hand; shape (n,) each. One without any number is hidden.
        """
        bar = self.view.verticalScrollBar()
        place = bar.value()
        self._choosing = True
        self.model.set_columns(columns)
        self._choosing = False
        bar.setValue(place)
        self._hide_unknown()
        self._on_selection()

    @property
    def selected(self) -> NDArray[np.int64]:
        """Selected particles, ascending."""
        rows = [index.row() for index in self.view.selectionModel().selectedRows()]
        return np.sort(self.model.order[rows])

    @Slot(int)
    def choose(self, particle: int) -> None:
        """Make a particle's row the current one, without telling."""
        if not 0 <= particle < self.model.rowCount():
            return
        row = int(self.model.places()[particle])
        if self.view.currentIndex().row() == row:
            return
        self._choosing = True
        self.view.setCurrentIndex(self.model.index(row, 0))
        self._choosing = False

    def select(self, particles: NDArray[np.int64]) -> None:
        """Select particles in place of those that are selected."""
        last = self.model.columnCount() - 1
        selection = QItemSelection()
        for row in self.model.places()[particles]:
            selection.select(self.model.index(int(row), 0), self.model.index(int(row), last))
        mode = QItemSelectionModel.SelectionFlag.ClearAndSelect
        self.view.selectionModel().select(selection, mode)

    def set_can_undo(self, can_undo: bool) -> None:
        """Open or close the way back from what was said last of who belongs."""
        self.can_undo = can_undo
        self._on_selection()

    def restyle(self) -> None:
        """Take the theme's colours: the table does so by itself."""

    def graphics(self) -> list[pg.GraphicsView]:
        """Return nothing: a table is no figure."""
        return []

    def table(self) -> dict[str, NDArray[Any]]:
        """Return the columns in the order of the rows, for saving."""
        known = [c for place, c in enumerate(_COLUMNS) if self.model.known(place)]
        return {c.file_name: self.model.columns[c.key][self.model.order] for c in known}

    def _hide_unknown(self) -> None:
        for column in range(1, len(_COLUMNS)):
            self.view.setColumnHidden(column, not self.model.known(column))

    @Slot()
    def _on_selection(self, *_: object) -> None:
        selected, n = len(self.view.selectionModel().selectedRows()), self.model.rowCount()
        self.count.setText(f"{selected:,} of {n:,} selected" if n else "")
        for button in (self.save, self.drop):
            button.setEnabled(selected > 0)
        self.buttons.set_state(selected=selected, can_undo=self.can_undo)
        self.restore.setEnabled(n > 0)

    def _on_current(self, current: QModelIndex, *_: object) -> None:
        if current.isValid() and not self._choosing:
            self.particle_chosen.emit(self.model.particle_at(current.row()))

    @Slot()
    def _on_save(self) -> None:
        self.save_asked.emit(self.selected)

    @Slot()
    def _on_drop(self) -> None:
        self.drop_asked.emit(self.selected)
