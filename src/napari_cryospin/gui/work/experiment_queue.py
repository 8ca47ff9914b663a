"""The queue of experiments: one at a time off the main thread, and none beside a live run."""

from __future__ import annotations

import traceback
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.engine import events
from napari_cryospin.engine.experiments import events as told
from napari_cryospin.engine.experiments.results import CellState
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.gui.work.mailbox import Mailbox
from napari_cryospin.gui.work.resting_timer import RestingTimer
from napari_cryospin.gui.work.threads import WorkerThread

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.events import BatchDone, Event
    from napari_cryospin.engine.experiments.cells import Cell
    from napari_cryospin.engine.experiments.plan import Experiment
    from napari_cryospin.engine.experiments.results import CellResult
    from napari_cryospin.gui.work.session import Session

_BATCH_INTERVAL_MS, _REST, _MOST_INTERVAL_MS = 200, 10, 1_000
# a batch and a checkpoint fit in here
_STOP_TIMEOUT_MS = 60_000
BUSY = "An experiment is under way: cancel it in the Experiments tab, or wait for its end."
_WAITS = "The queue waits for the run that is under way."


@dataclass
class Queued:
    """An experiment in the queue, and how far it is.

    Parameters
    ----------
    experiment, folder, cells
        The plan, where it is run, and its cells.
    results
        What came of the cells that have ended, by name.
    present
        The cell under way, None without one.
    progress
        How far it is.
    ended
        Whether nothing of it is to be done any more in this queue.
    message
        What was said at its end.
    """

    experiment: Experiment
    folder: Path
    cells: tuple[Cell, ...]
    results: dict[str, CellResult] = field(default_factory=dict)
    present: Cell | None = None
    progress: told.CellProgress | None = None
    ended: bool = False
    message: str = ""

    def state(self, cell: Cell) -> CellState:
        """Return what has become of a cell."""
        if self.present is cell:
            return CellState.RUNNING
        result = self.results.get(cell.name)
        return CellState.WAITING if result is None else result.state


class ExperimentWorker(QObject):
    """Runs one experiment; batches go into a mailbox, all else but maps and poses is sent on.

    Parameters
    ----------
    queued
        What to run.
    controls
        Commands to it.
    threads
        CPU threads of its runs.
    """

    happened = Signal(object)
    ended = Signal(object)

    def __init__(self, queued: Queued, controls: Controls, threads: int) -> None:
        super().__init__()
        self._queued, self._controls, self._threads = queued, controls, threads
        self.batch: Mailbox[BatchDone] = Mailbox()

    @Slot()
    def run(self) -> None:
        """Iterate the experiment to its end, whatever happens."""
        last: Event | None = None
        try:
            # torch is imported here, off the main thread
            from napari_cryospin.engine.experiments.execution import ExperimentRun

            queued = self._queued
            run = ExperimentRun(queued.experiment, queued.folder, self._controls, self._threads)
            for event in run.run():
                last = event
                self._pass_on(event)
        except Exception as error:
            from napari_cryospin.engine.failures import tell

            said = tell(error, self._queued.folder)
            last = events.Failed(said.message, traceback.format_exc(), said.bad_input)
        if not isinstance(last, told.ExperimentFinished | events.Failed):
            last = events.Failed("The experiment ended without a word.", "")
        self.ended.emit(last)

    def _pass_on(self, event: Event) -> None:
        match event:
            case told.CellEvent(event=events.BatchDone() as batch):
                self.batch.put(batch)
            case told.CellEvent(event=events.VolumeUpdated() | events.PosesUpdated()):
                # who wants to see them opens the cell's run
                pass
            case told.ExperimentFinished() | events.Failed():
                pass
            case _:
                self.happened.emit(event)


class ExperimentQueue(QObject):
    """Runs experiments one after the other; all of its signals are emitted on the main thread.

    Parameters
    ----------
    session
        While it runs something the queue waits; while the queue does, the session starts nothing.

    Attributes
    ----------
    items
        The experiments, in the order in which they were added.
    changed
        Emitted when the queue, or a state in it, has changed.
    cell_done
        Emitted with the result of a cell.
    batch
        Emitted with the latest batch of the present cell.
    message
        Emitted with a sentence for the user.
    """

    changed = Signal()
    cell_done = Signal(object)
    batch = Signal(object)
    message = Signal(str)

    def __init__(self, session: Session, threads: int) -> None:
        super().__init__(session)
        self._session, self._threads = session, threads
        self.items: list[Queued] = []
        self._to_do: deque[Queued] = deque()
        self.present: Queued | None = None
        self._wanted = False
        self._controls = Controls()
        self._worker: ExperimentWorker | None = None
        self._thread: WorkerThread | None = None
        self._timer = RestingTimer(_BATCH_INTERVAL_MS, _REST, self, _MOST_INTERVAL_MS)
        self._timer.timeout.connect(self._pull_batch)
        session.state_changed.connect(self._on_session)

    @property
    def active(self) -> bool:
        """Whether an experiment is under way, paused or ending included."""
        return self._thread is not None

    @property
    def paused(self) -> bool:
        """Whether a pause was asked for."""
        return self.active and self._controls.paused

    @property
    def stopping(self) -> bool:
        """Whether the present experiment was told to end."""
        return self.active and self._controls.stopped

    @property
    def waits(self) -> str:
        """Why nothing happens though it should; empty where there is no reason."""
        waits = self._wanted and not self.active and self._session.active and bool(self._to_do)
        return _WAITS if waits else ""

    @property
    def startable(self) -> bool:
        """Whether there is anything to start."""
        return not self.active and any(not item.ended for item in self.items)

    def add(self, queued: Queued) -> None:
        """Add an experiment; the one in the same folder that has ended goes."""
        self.items = [item for item in self.items if item.folder != queued.folder or not item.ended]
        self.items.append(queued)
        self._to_do.append(queued)
        self.changed.emit()
        self._go_on()

    def holds(self, folder: Path) -> bool:
        """Return whether an experiment in a folder is still to be run, or under way."""
        return any(item.folder == folder and not item.ended for item in self.items)

    def remove(self, queued: Queued) -> None:
        """Take an experiment that is not under way from the list; its folder stays as it is."""
        if queued is self.present:
            return
        self.items.remove(queued)
        if queued in self._to_do:
            self._to_do.remove(queued)
        self.changed.emit()

    def start(self) -> None:
        """Run what is in the queue, once no run is under way."""
        self._wanted = True
        self._go_on()
        if self.waits:
            self.message.emit(self.waits)
        self.changed.emit()

    def pause(self) -> None:
        """Let the present experiment rest after its batch."""
        self._controls.pause()
        self.changed.emit()

    def resume(self) -> None:
        """Let a paused experiment go on."""
        self._controls.resume()
        self.changed.emit()

    def cancel(self) -> None:
        """End the present experiment after its batch; all is kept, and what follows waits."""
        self._wanted = False
        if self.active:
            self._controls.stop(results=False)
        self.changed.emit()

    @Slot(object)
    def _on_session(self, _state: object) -> None:
        self._go_on()
        if self.waits:
            self.changed.emit()

    def _go_on(self) -> None:
        """Begin the next experiment, if it is time."""
        if not self._wanted or self.active or self._session.active or not self._to_do:
            return
        queued = self._to_do.popleft()
        self.present, self._controls = queued, Controls()
        self._session.held = BUSY
        self._worker = ExperimentWorker(queued, self._controls, self._threads)
        self._thread = WorkerThread(
            self._worker,
            self,
            "cryospin-experiment",
            hurry=partial(self._controls.stop, results=False),
            timeout_ms=_STOP_TIMEOUT_MS,
        )
        self._thread.thread.started.connect(self._worker.run)
        self._worker.happened.connect(self._on_event)
        self._worker.ended.connect(self._on_ended)
        self._thread.start()
        self._timer.start()
        self.changed.emit()

    @Slot(object)
    def _on_event(self, event: Event) -> None:
        queued = self.present
        assert queued is not None
        match event:
            case told.ExperimentStarted():
                queued.cells = event.cells
                queued.results = {each.cell.name: each for each in event.results}
            case told.CellStarted():
                queued.present, queued.progress = event.cell, None
                self.message.emit(event.sentence())
            case told.CellProgress():
                queued.progress = event
            case told.CellDone():
                queued.present, queued.progress = None, None
                queued.results[event.result.cell.name] = event.result
                self.cell_done.emit(event.result)
            case told.CellEvent(event=events.Paused() | events.Resumed()):
                pass
            case _:
                return
        self.changed.emit()

    @Slot(object)
    def _on_ended(self, last: Event) -> None:
        queued, thread = self.present, self._thread
        assert queued is not None
        self._timer.stop()
        self.present = self._thread = self._worker = None
        if thread is not None:
            thread.end()
        self._session.held = ""
        queued.present, queued.progress = None, None
        if isinstance(last, told.ExperimentFinished) and last.stopped:
            # it can be started again
            self._to_do.appendleft(queued)
            queued.message = last.sentence()
        else:
            queued.ended = True
            failed = isinstance(last, events.Failed)
            queued.message = last.message if failed else last.sentence()  # type: ignore[attr-defined]
        self.message.emit(queued.message)
        self.changed.emit()
        self._go_on()

    @Slot()
    def _pull_batch(self) -> None:
        batch = None if self._worker is None else self._worker.batch.take()
        if batch is not None:
            self._timer.draws()
            self.batch.emit(batch)
