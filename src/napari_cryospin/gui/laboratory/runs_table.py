"""A table of runs that sorts, and is written as CSV or TSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal, Slot
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.experiments.results import write_table
from napari_cryospin.engine.runfolder.protected import require_not_in_use
from napari_cryospin.gui.work.saving import ask_where

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_UNITS = {
    "mean_pose_error_deg": "mean error (°)",
    "median_pose_error_deg": "median error (°)",
    "resolution_angstrom": "resolution (Å)",
    "held_out_gain_nats": "held-out gain (nats)",
    "switched_after": "switched after",
    "seconds_alone": "seconds if alone",
    "branch_of": "branch of",
    "branched_at": "branched at",
}


class _Field(QTableWidgetItem):
    """A field that sorts by its number where it has one; what is empty comes last."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return _key(self.text()) < _key(other.text())


def _key(text: str) -> tuple[int, float, str]:
    try:
        return (0, float(text), text)
    except ValueError:
        return (1 if text else 2, 0.0, text)


class RunsTable(QWidget):
    """The figures of runs, and the settings in which they differ.

    Attributes
    ----------
    message
        Emitted with a sentence for the user.
    """

    message = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._columns: tuple[str, ...] = ()
        self.view = QTableWidget()
        self.view.setObjectName("compare_table")
        self.view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.verticalHeader().setVisible(False)
        self.view.verticalHeader().setDefaultSectionSize(20)
        self.view.setSortingEnabled(True)
        self.view.setMinimumHeight(90)
        self.save = QToolButton()
        self.save.setText("Table…")
        self.save.setToolTip("Save the table as it is sorted (CSV or TSV)")
        self.save.clicked.connect(self._on_save)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("A click on the name of a column sorts by it."))
        row.addStretch()
        row.addWidget(self.save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(2)
        layout.addWidget(self.view, 1)
        layout.addLayout(row)

    def show_rows(self, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
        """Show rows by column; the order of the rows stays where the columns do."""
        view = self.view
        before = (
            view.horizontalHeader().sortIndicatorSection(),
            (view.horizontalHeader().sortIndicatorOrder()),
        )
        same = tuple(columns) == self._columns
        self._columns = tuple(columns)
        view.setSortingEnabled(False)
        view.setColumnCount(len(columns))
        view.setRowCount(len(rows))
        view.setHorizontalHeaderLabels([_UNITS.get(name, name) for name in columns])
        for line, row in enumerate(rows):
            for place, name in enumerate(columns):
                view.setItem(line, place, _Field(row.get(name, "")))
        view.horizontalHeader().setSortIndicator(
            *(before if same else (-1, Qt.SortOrder.AscendingOrder))
        )
        view.setSortingEnabled(True)
        view.resizeColumnsToContents()

    def rows(self) -> list[dict[str, str]]:
        """Return the rows as they are sorted, by column."""
        view = self.view
        return [
            {name: view.item(line, place).text() for place, name in enumerate(self._columns)}
            for line in range(view.rowCount())
        ]

    def write(self, path: Path) -> None:
        """Write the table; the suffix says whether commas or tabs part its columns."""
        try:
            if path.suffix.lower() not in (".csv", ".tsv"):
                raise InputError(f"{path.name}: tables are written as .csv or .tsv.")
            require_not_in_use(path)
            write_table(path, self._columns, self.rows())
        except InputError as error:
            self.message.emit(str(error))
        except OSError as error:
            self.message.emit(f"{path} could not be written: {error.strerror}.")
        else:
            self.message.emit(f"Saved {path}.")

    @Slot()
    def _on_save(self) -> None:
        kinds = "Parted by commas (*.csv);;Parted by tabs (*.tsv)"
        path = ask_where(self, "Save the table", "runs.csv", kinds)
        if path is not None:
            self.write(path)
