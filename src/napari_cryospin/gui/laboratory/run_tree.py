"""Runs and their branches as a tree, with the stages of each as a coloured bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRectF, Qt, Signal, Slot
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QTreeWidget,
    QTreeWidgetItem,
)

from napari_cryospin.gui.colours import foreground, head_colour, stage_colour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QModelIndex
    from qtpy.QtGui import QResizeEvent
    from qtpy.QtWidgets import QStyleOptionViewItem, QWidget

    from napari_cryospin.engine.experiments.comparison import Node
    from napari_cryospin.engine.experiments.records import RunRecord

_NAME, _STAGES, _ERROR = range(3)
_RECORD = Qt.ItemDataRole.UserRole
_BAR_HEIGHT = 10
# width of the bars: that of the tree over this, within these bounds, pixels
_PART, _LEAST, _MOST = 5, 64, 160
_SWATCH = 10


class _StageBar(QStyledItemDelegate):
    """Draws the stages of a run from its first epoch to its last, on a scale for all runs."""

    def __init__(self, tree: RunTree) -> None:
        super().__init__(tree)
        self._tree = tree

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        super().paint(painter, option, index)
        record: RunRecord | None = index.data(_RECORD)
        if painter is None or record is None or not self._tree.most_epochs:
            return
        room = QRectF(option.rect).adjusted(3, 0, -6, 0)
        scale = room.width() / self._tree.most_epochs
        top = room.center().y() - _BAR_HEIGHT / 2
        painter.save()
        for place, span in enumerate(record.spans):
            left, width = room.left() + span.begin * scale, (span.end - span.begin) * scale
            colour = QColor(stage_colour(span.inference))
            painter.fillRect(QRectF(left, top, width, _BAR_HEIGHT), colour)
            # what is the parent's is told apart
            shared = min(max(record.shared - span.begin, 0), span.end - span.begin) * scale
            colour = QColor("black")
            colour.setAlpha(110)
            painter.fillRect(QRectF(left, top, shared, _BAR_HEIGHT), colour)
            if place:
                mark = QRectF(left - 0.75, top - 3, 1.5, _BAR_HEIGHT + 6)
                painter.fillRect(mark, foreground(self._tree))
        painter.restore()


class RunTree(QTreeWidget):
    """Runs, each with a box that says whether it is compared, and the colour of its curve.

    Attributes
    ----------
    chosen
        Emitted when other runs are to be compared.
    open_asked
        Emitted with the folder of a run that was clicked twice.
    """

    chosen = Signal()
    open_asked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compare_tree")
        self.most_epochs = 0.0
        self._records: list[RunRecord] = []
        self._left_out: set[Any] = set()
        self._filling = False
        self.setColumnCount(3)
        self.setHeaderLabels(("Run", "Stages", "Error"))
        self.headerItem().setToolTip(_STAGES, "Stages over epochs; a line marks each switch")
        self.headerItem().setToolTip(_ERROR, "Mean pose error after the last epoch")
        self.setIndentation(14)
        self.setUniformRowHeights(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setItemDelegateForColumn(_STAGES, _StageBar(self))
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_STAGES, QHeaderView.ResizeMode.Fixed)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        header.setSectionResizeMode(_ERROR, QHeaderView.ResizeMode.ResizeToContents)
        header.setMinimumSectionSize(40)
        # names of cells are not cut
        self.setMinimumSize(320, 110)
        self.itemChanged.connect(self._on_changed)
        self.itemDoubleClicked.connect(self._on_double)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Share out the room between names and bars."""
        super().resizeEvent(event)
        bar = min(max(self.width() // _PART, _LEAST), _MOST)
        self.header().resizeSection(_STAGES, bar)

    def show_tree(self, nodes: Sequence[Node]) -> None:
        """Show runs; those that were left out of the comparison stay so."""
        self._filling = True
        self._records = []
        self.clear()
        for node in nodes:
            self._add(node, self)
        self.most_epochs = max(
            (record.spans[-1].end for record in self._records if record.spans), default=0.0
        )
        self.expandAll()
        self._filling = False
        self.chosen.emit()

    def compared(self) -> list[RunRecord]:
        """Return the runs whose box is set, from top to bottom."""
        return [record for record in self._records if record.folder not in self._left_out]

    def colour(self, record: RunRecord) -> str:
        """Return the colour of a run, as ``#rrggbb``."""
        return head_colour(self._records.index(record))

    def selected(self) -> list[RunRecord]:
        """Return the runs whose rows are selected."""
        return [item.data(_STAGES, _RECORD) for item in self.selectedItems()]

    def select_all(self, compared: bool) -> None:
        """Compare all runs, or none."""
        self._left_out = set() if compared else {record.folder for record in self._records}
        self._set_boxes()

    def _set_boxes(self) -> None:
        self._filling = True
        items = self.findItems("", Qt.MatchFlag.MatchContains | Qt.MatchFlag.MatchRecursive)
        for item in items:
            record: RunRecord = item.data(_STAGES, _RECORD)
            item.setCheckState(_NAME, _checked(record.folder not in self._left_out))
        self._filling = False
        self.chosen.emit()

    def _add(self, node: Node, parent: QTreeWidget | QTreeWidgetItem) -> None:
        record = node.record
        self._records.append(record)
        item = QTreeWidgetItem(parent)
        item.setText(_NAME, record.name)
        item.setToolTip(_NAME, f"{record.folder}\n{record.standing.sentence()}")
        item.setIcon(_NAME, _swatch(head_colour(len(self._records) - 1)))
        item.setCheckState(_NAME, _checked(record.folder not in self._left_out))
        item.setData(_STAGES, _RECORD, record)
        item.setToolTip(_STAGES, _stages(record))
        last = record.last
        if last is not None and last.mean_pose_error is not None:
            item.setText(_ERROR, f"{last.mean_pose_error:.1f}°")
        for branch in node.branches:
            self._add(branch, item)

    @Slot(QTreeWidgetItem, int)
    def _on_changed(self, item: QTreeWidgetItem, column: int) -> None:
        if self._filling or column != _NAME:
            return
        folder = item.data(_STAGES, _RECORD).folder
        if item.checkState(_NAME) == Qt.CheckState.Checked:
            self._left_out.discard(folder)
        else:
            self._left_out.add(folder)
        self.chosen.emit()

    @Slot(QTreeWidgetItem, int)
    def _on_double(self, item: QTreeWidgetItem, _column: int) -> None:
        self.open_asked.emit(item.data(_STAGES, _RECORD).folder)


def _stages(record: RunRecord) -> str:
    """Return the stages of a run in words."""
    words = [
        f"{span.inference.label}: epoch {span.begin:g} to {span.end:g}" for span in record.spans
    ]
    if record.parent is not None:
        words.insert(0, f"branched off from {record.parent.name} after epoch {record.shared}")
    return "\n".join(words)


def _checked(checked: bool) -> Qt.CheckState:
    return Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked


def _swatch(colour: str) -> QIcon:
    pixmap = QPixmap(_SWATCH, _SWATCH)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)
