"""A small table to read: named columns, rows that are selected whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence


class RowTable(QTableWidget):
    """A table of few rows, as wide as what stands in it.

    Parameters
    ----------
    columns
        Names of the columns, and the tip of each.
    row_height
        Height of a row, in points.
    parent
        Parent widget.
    """

    def __init__(
        self, columns: Sequence[tuple[str, str]], row_height: int, parent: QWidget | None = None
    ) -> None:
        super().__init__(0, len(columns), parent)
        for column, (name, tip) in enumerate(columns):
            item = QTableWidgetItem(name)
            item.setToolTip(tip)
            self.setHorizontalHeaderItem(column, item)
        rows = self.verticalHeader()
        rows.setVisible(False)
        rows.setDefaultSectionSize(row_height)
        rows.setMinimumSectionSize(row_height)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
