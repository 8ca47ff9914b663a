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
    from napari_cryospin.engine.experiments.events import CellProgress
    from napari_cryospin.gui.work.experiment_queue import ExperimentQueue, Queued

_COLUMNS = ("Cell", "State")
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
                # a narrow dock has no room for columns of what is said of a whole experiment
                row.setFirstColumnSpanned(True)
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
        parts = [words, f"{done} of {len(states)}"]
        if failed:
            parts.append(f"{failed} failed")
        if left is not None:
            parts.append(f"about {duration(left)} left")
        tip = "\n".join(filter(None, (str(item.folder), item.message)))
        _set(row, 0, " · ".join((*parts, item.folder.name)), tip)

    def _show_cell(self, row: QTreeWidgetItem, item: Queued, cell: Cell) -> None:
        state = item.state(cell)
        _set(row, 0, cell.name, cell.name)
        result, progress = item.results.get(cell.name), item.progress
        if state is CellState.RUNNING:
            words = _STATES[state] if progress is None else _epochs(progress)
            _set(row, 1, words, "epochs done")
            return
        told = "" if result is None or result.message else _short(result.row())
        tip = str(state) if result is None else result.sentence()
        _set(row, 1, " ".join(filter(None, (_STATES[state], told))), tip)

    @Slot(object)
    def _on_batch(self, batch: BatchDone) -> None:
        """Show how far the present cell is in its epoch."""
        present = self._queue.present
        if present is None or present.present is None or present.progress is None:
            return
        row = self.topLevelItem(self._queue.items.index(present))
        assert row is not None
        child = row.child(present.cells.index(present.present))
        assert child is not None
        tip = f"{batch.inference.label}, batch {batch.batch} of {batch.n_batches}"
        _set(child, 1, _epochs(present.progress, batch.batch / batch.n_batches), tip)

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


def _epochs(progress: CellProgress, share: float = 0.0) -> str:
    """Return how far a cell is, with a share of the present epoch."""
    return f"{_STATES[CellState.RUNNING]} {progress.epoch + share:.1f} of ≤ {progress.n_epochs}"


def _set(row: QTreeWidgetItem, column: int, text: str, tip: str) -> None:
    # each change of a text is a drawing of the table
    if row.text(column) != text:
        row.setText(column, text)
    if row.toolTip(column) != tip:
        row.setToolTip(column, tip)


def _short(row: dict[str, str]) -> str:
    """Return the result of a cell in a few words."""
    if row["mean_pose_error_deg"]:
        return f"{float(row['mean_pose_error_deg']):.1f}°"
    if row["held_out_gain_nats"]:
        return f"gain {float(row['held_out_gain_nats']):.1f} nats"
    return ""
