"""The queue of experiments as a table: their cells, with state, progress and result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal, Slot
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_cryospin.engine.experiments.results import CellState
from napari_cryospin.engine.run.pace import duration

if TYPE_CHECKING:
    from pathlib import Path

    from qtpy.QtWidgets import QWidget

    from napari_cryospin.engine.events import BatchDone
    from napari_cryospin.engine.experiments.cells import Cell
    from napari_cryospin.gui.work.experiment_queue import ExperimentQueue, Queued

_COLUMNS = ("Cell", "State", "Result")
_PLACE = Qt.ItemDataRole.UserRole
_STATES = {
    CellState.WAITING: "waiting",
    CellState.RUNNING: "▶",
    CellState.STOPPED: "stopped",
    CellState.FINISHED: "✓",
    CellState.FAILED: "✗ failed",
}


class QueueView(QTreeWidget):
    """Experiments with their cells, updated in place.

    Parameters
    ----------
    queue
        What is shown.

    Attributes
    ----------
    chosen
        Emitted when another cell or experiment was chosen.
    open_asked
        Emitted with the run folder of a cell that was clicked twice.
    """

    chosen = Signal()
    open_asked = Signal(object)

    def __init__(self, queue: ExperimentQueue, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._queue = queue
        self.setObjectName("experiment_queue")
        self.setHeaderLabels(_COLUMNS)
        self.setRootIsDecorated(True)
        self.setIndentation(12)
        self.setUniformRowHeights(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setMinimumHeight(140)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.currentItemChanged.connect(self._on_current)
        self.itemDoubleClicked.connect(self._on_double)
        queue.changed.connect(self.refresh)
        queue.batch.connect(self._on_batch)
        self.refresh()

    def chosen_item(self) -> Queued | None:
        """Return the chosen experiment, or that of the chosen cell."""
        place = self._place()
        return None if place is None else self._queue.items[place[0]]

    def chosen_run(self) -> Path | None:
        """Return the run folder of the chosen cell, where it has been begun."""
        place = self._place()
        if place is None or place[1] < 0:
            return None
        item = self._queue.items[place[0]]
        cell = item.cells[place[1]]
        begun = item.state(cell) is not CellState.WAITING
        return item.folder / cell.name if begun else None

    @Slot()
    def refresh(self) -> None:
        """Show how the queue stands."""
        items = self._queue.items
        while self.topLevelItemCount() > len(items):
            self.takeTopLevelItem(self.topLevelItemCount() - 1)
        for place, item in enumerate(items):
            row = self.topLevelItem(place)
            if row is None:
                row = QTreeWidgetItem(self)
                row.setFirstColumnSpanned(False)
                row.setExpanded(True)
            row.setData(0, _PLACE, (place, -1))
            self._show_experiment(row, item)
            while row.childCount() > len(item.cells):
                row.removeChild(row.child(row.childCount() - 1))
            for number, cell in enumerate(item.cells):
                child = row.child(number) or QTreeWidgetItem(row)
                child.setData(0, _PLACE, (place, number))
                self._show_cell(child, item, cell)
        self.chosen.emit()

    def _show_experiment(self, row: QTreeWidgetItem, item: Queued) -> None:
        states = [item.state(cell) for cell in item.cells]
        done = states.count(CellState.FINISHED)
        failed = states.count(CellState.FAILED)
        progress = item.progress
        left = None if progress is None else progress.seconds_left
        if item is self._queue.present:
            words = "paused" if self._queue.paused else "running"
            words = "ending …" if self._queue.stopping else words
        else:
            words = "ended" if item.ended else "in the queue"
        _set(row, 0, item.folder.name, str(item.folder))
        _set(row, 1, words, item.message)
        parts = [f"{done} of {len(states)}"]
        if failed:
            parts.append(f"{failed} failed")
        if left is not None:
            parts.append(f"about {duration(left)} left")
        _set(row, 2, " · ".join(parts), item.message)

    def _show_cell(self, row: QTreeWidgetItem, item: Queued, cell: Cell) -> None:
        state = item.state(cell)
        _set(row, 0, cell.name, cell.name)
        result, progress = item.results.get(cell.name), item.progress
        words = _STATES[state]
        if state is CellState.RUNNING:
            if progress is not None:
                words = f"{words} {progress.epoch} of ≤ {progress.n_epochs}"
            _set(row, 1, words, "epochs done")
            return
        _set(row, 1, words, str(state))
        told = "" if result is None else result.message or _short(result.row())
        _set(row, 2, told, "" if result is None else result.sentence())

    @Slot(object)
    def _on_batch(self, batch: BatchDone) -> None:
        """Show the present batch beside its cell."""
        present = self._queue.present
        if present is None or present.present is None:
            return
        row = self.topLevelItem(self._queue.items.index(present))
        assert row is not None
        child = row.child(present.cells.index(present.present))
        assert child is not None
        words = f"batch {batch.batch} of {batch.n_batches}"
        _set(child, 2, words, f"{batch.inference.label}, {words}")

    def _place(self) -> tuple[int, int] | None:
        current = self.currentItem()
        if current is None:
            return None
        place = current.data(0, _PLACE)
        return (int(place[0]), int(place[1]))

    @Slot()
    def _on_current(self, *_: object) -> None:
        self.chosen.emit()

    @Slot()
    def _on_double(self, *_: object) -> None:
        run = self.chosen_run()
        if run is not None:
            self.open_asked.emit(run)


def _set(row: QTreeWidgetItem, column: int, text: str, tip: str) -> None:
    # each change of a text is a drawing of the table
    if row.text(column) != text:
        row.setText(column, text)
    if row.toolTip(column) != tip:
        row.setToolTip(column, tip)


def _short(row: dict[str, str]) -> str:
    """Return the result of a cell in a few words."""
    if row["mean_pose_error_deg"]:
        parts = [f"{float(row['mean_pose_error_deg']):.1f}°"]
    elif row["held_out_gain_nats"]:
        parts = [f"gain {float(row['held_out_gain_nats']):.1f} nats"]
    else:
        parts = []
    return " · ".join(parts)
