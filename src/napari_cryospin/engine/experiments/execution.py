"""An experiment from its plan to its table, as one stream of events."""

from __future__ import annotations

import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from napari_cryospin.engine import events
from napari_cryospin.engine.allocator import give_back
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.experiments.cells import cells_of
from napari_cryospin.engine.experiments.events import (
    CellDone,
    CellEvent,
    CellProgress,
    CellStarted,
    ExperimentFinished,
    ExperimentStarted,
)
from napari_cryospin.engine.experiments.pace import ExperimentPace
from napari_cryospin.engine.experiments.place import claim
from napari_cryospin.engine.experiments.records import read_record
from napari_cryospin.engine.experiments.results import (
    TABLE,
    CellResult,
    CellState,
    write_results,
)
from napari_cryospin.engine.failures import known_failure, tell
from napari_cryospin.engine.run.branching import branch_epochs, make_branch
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.place import Holds, what_is_in

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_cryospin.engine.events import Event
    from napari_cryospin.engine.experiments.cells import Cell
    from napari_cryospin.engine.experiments.plan import Experiment
    from napari_cryospin.engine.experiments.records import RunRecord
    from napari_cryospin.engine.runfolder.lock import RunLock


class ExperimentRun:
    """Runs the cells of an experiment one after the other, each into its own run folder.

    A cell whose beginning another one has had already branches off from it. Run again in the same
    folder, cells that have finished are passed over, and one that was left half done goes on.

    Parameters
    ----------
    experiment
        The plan.
    folder
        Where its run folders and its table are made.
    controls
        Commands, read between batches; a stop ends the experiment, and all is kept.
    threads
        CPU threads of its runs; None for all.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: Path,
        controls: Controls | None = None,
        threads: int | None = None,
    ) -> None:
        self.experiment, self.folder = experiment, folder
        self.controls = controls or Controls()
        self._threads = threads
        self._cells: list[Cell] = []
        self._results: dict[str, CellResult] = {}
        self._pace = ExperimentPace()
        self._lock: RunLock | None = None

    def run(self) -> Generator[Event, None, None]:
        """Yield the events. Never raises; exactly one terminal event ends the stream."""
        try:
            yield from self._events()
        except Exception as error:
            told = tell(error, self.folder, resumable=True)
            yield events.Failed(told.message, traceback.format_exc(), told.bad_input)
        finally:
            if self._lock is not None:
                self._lock.release()

    def _events(self) -> Iterator[Event]:
        self._cells = cells_of(self.experiment)
        self._lock = claim(self.folder, self.experiment)
        self._look_back()
        self._write()
        yield ExperimentStarted(self.folder, tuple(self._cells), tuple(self._results.values()))
        for place, cell in enumerate(self._cells):
            if self.controls.stopped:
                break
            if cell.name not in self._results:
                yield from self._run(place)
        states = [result.state for result in self._results.values()]
        yield ExperimentFinished(
            self.folder,
            self.controls.stopped,
            len(self._cells),
            states.count(CellState.FINISHED),
            states.count(CellState.FAILED),
        )

    def _look_back(self) -> None:
        """Find the cells that have finished before."""
        for cell in self._cells:
            record = self._record(cell)
            if record is not None and record.finished:
                self._results[cell.name] = CellResult(cell, CellState.FINISHED, record)
                self._pace.learn(cell, record)

    def _record(self, cell: Cell) -> RunRecord | None:
        try:
            return read_record(self.folder / cell.name)
        except (InputError, OSError):
            return None

    def _run(self, place: int) -> Iterator[Event]:
        """Run a cell to its end, and write down what came of it."""
        cell, began = self._cells[place], time.monotonic()
        counted = place + 1, len(self._cells)
        last: Event | None = None
        message = ""
        try:
            run, started = self._begun(cell, *counted)
            yield started
            yield self._progress(place, 0, began)
            for event in run.run():
                last = event
                if not isinstance(event, events.Finished | events.Failed):
                    yield CellEvent(cell, event)
                if isinstance(event, events.EpochDone):
                    yield self._progress(place, event.epoch + 1, began)
            message = last.message if isinstance(last, events.Failed) else ""
        except Exception as error:
            known = known_failure(error, self.folder / cell.name)
            message = known or tell(error).message
        give_back()
        result = self._result(cell, last, message)
        if result.state is CellState.FINISHED and result.record is not None:
            self._pace.learn(cell, result.record, time.monotonic() - began)
        if result.state is not CellState.STOPPED:
            self._results[cell.name] = result
            self._write()
        yield CellDone(result, *counted)

    def _result(self, cell: Cell, last: Event | None, message: str) -> CellResult:
        state = CellState.FAILED
        if isinstance(last, events.Finished):
            state = CellState.STOPPED if last.stopped else CellState.FINISHED
        return CellResult(cell, state, self._record(cell), message)

    def _begun(self, cell: Cell, number: int, of: int) -> tuple[Reconstruction, CellStarted]:
        """Return the run of a cell: gone on with, branched off from another, or new."""
        folder = self.folder / cell.name
        if what_is_in(folder) is Holds.RUN:
            started = CellStarted(cell, number, of, resumed=True)
            return Reconstruction.resume(folder, self.controls, self._here), started
        # one that was killed before its first checkpoint is begun again where it is
        source = self._source(cell) if what_is_in(folder) is Holds.NOTHING else None
        if source is None:
            settings = cell.settings.model_copy(deep=True)
            for where, value in self._here.items():
                settings.set(where, value)
            return Reconstruction(settings, folder, self.controls), CellStarted(cell, number, of)
        other, at = source
        name = f"{cell.encoding.inference}.epochs"
        make_branch(
            self.folder / other.name,
            at,
            folder,
            switch_at=cell.switch_at,  # type: ignore[arg-type]
            changes={name: cell.encoding.epochs} if cell.switch_at == "never" else None,
        )
        started = CellStarted(cell, number, of, other.name, at)
        return Reconstruction.resume(folder, self.controls, self._here), started

    @property
    def _here(self) -> dict[str, int]:
        """Settings of where a run is computed, which change nothing of it."""
        return {} if self._threads is None else {"threads": self._threads}

    def _source(self, cell: Cell) -> tuple[Cell, int] | None:
        """Return the cell to branch off from, and after how many epochs: as late as can be."""
        if cell.trunk is None or not cell.encoded_first:
            return None
        found: list[tuple[int, Cell]] = []
        for other in self._cells:
            if other is cell:
                break
            if other.trunk != cell.trunk:
                continue
            with suppress(InputError, OSError):
                most = min(self._encoded(other), cell.encoding.epochs)
                points = [e for e in branch_epochs(self.folder / other.name) if e <= most]
                if points:
                    found.append((max(points), other))
        if cell.switch_at == "auto" or not found:
            return None
        at, other = max(found, key=lambda one: one[0])
        return other, at

    def _encoded(self, cell: Cell) -> int:
        """Return how many epochs of auto-encoding a cell has had from its beginning."""
        record = self._record(cell)
        history = () if record is None else record.history
        return sum(done.inference.has_heads and done.stage == 0 for done in history)

    def _progress(self, place: int, epoch: int, began: float) -> CellProgress:
        cell, of = self._cells[place], len(self._cells)
        later = [k for k in range(place + 1, of) if self._cells[k].name not in self._results]
        mine = self._pace.seconds_left(self._cells, [place])
        others = self._pace.seconds_left(self._cells, later)
        left = None
        if mine is not None and others is not None:
            left = max(mine - (time.monotonic() - began), 0) + others
        return CellProgress(cell, place + 1, of, epoch, cell.epochs, left)

    def _write(self) -> None:
        ended = [self._results[cell.name] for cell in self._cells if cell.name in self._results]
        write_results(self.folder / TABLE, self.experiment.settings, ended)
