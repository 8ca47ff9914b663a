"""The session: one per dock. It owns the thread, the state and the latest of everything."""

from __future__ import annotations

import logging
import time
from enum import StrEnum
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal, Slot

from napari_cryospin.engine.run import events
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.gui.work.background import Background
from napari_cryospin.gui.work.reading import last_written, read_run, read_table
from napari_cryospin.gui.work.resting_timer import RestingTimer
from napari_cryospin.gui.work.threads import WorkerThread
from napari_cryospin.gui.work.worker import ReconstructionWorker

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.run.snapshot import Snapshot
    from napari_cryospin.engine.run.truth import Truth
    from napari_cryospin.engine.settings import Settings

logger = logging.getLogger(__name__)

VOLUME_INTERVAL_MS = 500
# where drawing is slow (no GPU), it gets at most one part in so many of the main thread's time,
# but a new map at least so often
_REST, MOST_INTERVAL_MS = 20, 5_000
PLOT_INTERVAL_MS = 100
FOLLOW_INTERVAL_MS = 2000
# a batch, a checkpoint and the final maps fit in here
STOP_TIMEOUT_MS = 60_000


class SessionState(StrEnum):
    """What the session is doing; the values are shown to the user."""

    IDLE = "Ready"
    LOADING = "Loading…"
    RUNNING = "Running"
    PAUSED = "Paused"
    STOPPING = "Stopping…"
    FINISHED = "Finished"
    FAILED = "Failed"


NO_TABLE = "Choose a particle stack in the Data tab first."
ACTIVE = frozenset(
    {SessionState.LOADING, SessionState.RUNNING, SessionState.PAUSED, SessionState.STOPPING}
)


class Session(QObject):
    """Listens to widgets (methods) and to the engine (events); tells both by signals.

    All signals are emitted on the main thread. Attributes hold the latest state.

    Attributes
    ----------
    state, stack, settings, folder
        Present state; working stack, settings and folder of the run.
    table
        The particle table that was chosen last, or None while it is read and where it cannot be.
    no_table
        Why there is no table, a sentence; empty where there is one.
    truth
        What is known of the truth, or None.
    truth_rotations
        True poses in the frame of the present map, (n, 3, 3), or None.
    latest_volume, latest_poses
        Latest events of their kind, or None.
    history, losses
        Figures of past epochs, and of all batches.
    """

    state_changed = Signal(object)
    table_changed = Signal(object)
    table_cleared = Signal(str)
    run_started = Signal(object)
    progress = Signal(object)
    epoch_started = Signal(object)
    batch_done = Signal(object)
    epoch_done = Signal(object)
    volume_updated = Signal(object)
    poses_updated = Signal(object)
    switched = Signal(object)
    finished = Signal(object)
    failed = Signal(object)
    run_opened = Signal(object)
    message = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = SessionState.IDLE
        self.table: ParticleTable | None = None
        self.no_table = NO_TABLE
        self.stack: WorkingStack | None = None
        self.settings: Settings | None = None
        self.folder: Path | None = None
        self.truth: Truth | None = None
        self.truth_rotations: NDArray[np.floating] | None = None
        self._reset()
        self._thread: WorkerThread | None = None
        self._worker: ReconstructionWorker | None = None
        self._controls = Controls()
        self._tables = Background(self)
        self._tables.done.connect(self._on_table_read)
        self._tables.failed.connect(self._on_table_failed)
        self._background = Background(self)
        self._background.done.connect(self._on_background_done)
        self._background.failed.connect(self._on_background_failed)
        # of its own: looking again must not drop what the user asked for
        self._following = Background(self)
        self._following.done.connect(self._on_background_done)
        self._slow = RestingTimer(VOLUME_INTERVAL_MS, _REST, self, MOST_INTERVAL_MS)
        self._fast = QTimer(self)
        # fires once the event loop has drawn; a child, so that it ends with the session
        self._drawn, self._drawing_since = QTimer(self), 0.0
        self._drawn.setSingleShot(True)
        self._drawn.timeout.connect(self._on_drawn)
        self._follow, self._written = QTimer(self), 0.0
        self._follow.setInterval(FOLLOW_INTERVAL_MS)
        self._follow.timeout.connect(self._look_again)
        self._slow.timeout.connect(self._pull_states)
        self._fast.setInterval(PLOT_INTERVAL_MS)
        self._fast.timeout.connect(self._pull_batches)
        self._closed = False

    @property
    def active(self) -> bool:
        """Whether a run is under way (paused or stopping included)."""
        return self._thread is not None

    def load(
        self, path: Path, passthrough: Path | None = None, datadir: Path | None = None
    ) -> None:
        """Read a particle table in the background; :attr:`table_changed` tells when it is there.

        The one before is gone from now on, whatever becomes of it: :attr:`table_cleared` tells why.
        """
        self._clear_table(f"{path.name} is still being read: wait until it is shown.")
        self.message.emit(f"Reading {path.name} …")
        self._background.drop()
        self._tables.submit(lambda: read_table(path, passthrough, datadir))

    def open_run(self, folder: Path) -> None:
        """Show a run folder, and follow it while another process still writes it."""
        if self.active:
            self.message.emit("A run is under way: stop it before opening another.")
            return
        if self.table is None:
            # what is read now is not waited for any more
            self._tables.drop()
            self._clear_table(NO_TABLE)
        self.message.emit(f"Reading the run in {folder} …")
        self._read_run(self._background, folder, None)

    def _read_run(self, background: Background, folder: Path, stack: WorkingStack | None) -> None:
        background.submit(lambda: (folder, read_run(folder, stack)))

    def start(self, settings: Settings, folder: Path) -> None:
        """Start a new run."""
        self._launch(settings, folder)

    def resume_run(self, folder: Path) -> None:
        """Go on with the run in a folder from its last checkpoint."""
        self._launch(None, folder)

    def pause(self) -> None:
        """Let training rest after the present batch."""
        self._controls.pause()

    def resume(self) -> None:
        """Let a paused training go on."""
        self._controls.resume()

    def switch(self) -> None:
        """End the present stage, or start; a paused run goes on."""
        self._controls.switch()
        self._controls.resume()

    def set_used(self, used: NDArray[np.bool_] | None) -> None:
        """Use only these particles, (n,), from the next epoch on; None takes all of them.

        Raises
        ------
        ValueError
            If fewer than two particles remain.
        """
        self._controls.set_used(used)

    def stop(self, keep: bool = True) -> None:
        """End the run; ``keep`` writes its results, otherwise they are left unwritten."""
        if self.active:
            self._set_state(SessionState.STOPPING)
            self._controls.stop(keep=keep)

    @Slot()
    def close(self) -> None:
        """Stop and keep a run that is under way, and wait for its end."""
        if self._closed:
            return
        self._closed = True
        self._slow.stop()
        self._fast.stop()
        if self._thread is not None:
            self._thread.end()

    def _reset(self) -> None:
        self.latest_volume: events.VolumeUpdated | None = None
        self.latest_poses: events.PosesUpdated | None = None
        self.history: list[events.EpochDone] = []
        self.losses: list[float] = []

    def _launch(self, settings: Settings | None, folder: Path) -> None:
        if self.active or self._closed:
            self.message.emit("A run is under way already.")
            return
        if settings is not None or folder != self.folder:
            self._reset()
        self.settings, self.folder = settings or self.settings, folder
        self._controls = Controls()
        self._worker = ReconstructionWorker(settings, folder, self._controls)
        self._thread = WorkerThread(
            self._worker,
            self,
            "cryospin-reconstruction",
            hurry=self._controls.stop,
            timeout_ms=STOP_TIMEOUT_MS,
        )
        self._thread.thread.started.connect(self._worker.run)
        self._worker.happened.connect(self._on_event)
        self._worker.ended.connect(self._on_ended)
        self._set_state(SessionState.LOADING)
        self._thread.start()
        self._slow.start()
        self._fast.start()

    def _set_state(self, state: SessionState) -> None:
        if state is not self.state:
            self.state = state
            self.state_changed.emit(state)

    @Slot(object)
    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.RunStarted():
                self._on_run_started(event)
            case events.Progress():
                self.progress.emit(event)
            case events.EpochStarted():
                self.epoch_started.emit(event)
            case events.EpochDone():
                self.history.append(event)
                self.epoch_done.emit(event)
            case events.Switched():
                self.switched.emit(event)
            case events.ParticlesChosen():
                self._on_particles_chosen(event)
            case events.Paused():
                self._pull_all()
                self._set_running_state(SessionState.PAUSED)
            case events.Resumed():
                self._set_running_state(SessionState.RUNNING)

    def _set_running_state(self, state: SessionState) -> None:
        # a run that was told to stop stays "stopping", whatever it still has to say
        if self.state is not SessionState.STOPPING:
            self._set_state(state)

    def _on_run_started(self, event: events.RunStarted) -> None:
        assert self._worker is not None
        self.stack, self.truth = self._worker.stack, self._worker.truth
        self.truth_rotations = None
        self._set_running_state(SessionState.RUNNING)
        self.run_started.emit(event)
        for note in event.notes:
            self.message.emit(note)

    def _on_particles_chosen(self, event: events.ParticlesChosen) -> None:
        assert self.stack is not None
        self.message.emit(
            f"{event.n_used:,} of {self.stack.n:,} particles are used from the next epoch on."
        )

    @Slot(object)
    def _on_ended(self, last: events.Event) -> None:
        self._pull_all()
        self._slow.stop()
        self._fast.stop()
        thread, self._thread, self._worker = self._thread, None, None
        if thread is not None:
            thread.end()
        if isinstance(last, events.Failed):
            logger.error("%s", last.details)
            self._set_state(SessionState.FAILED)
            self.failed.emit(last)
            self.message.emit(last.message)
        elif isinstance(last, events.Finished):
            self._set_state(SessionState.FINISHED)
            self.finished.emit(last)

    def _pull_all(self) -> None:
        self._pull_batches()
        self._pull_states()

    @Slot()
    def _pull_states(self) -> None:
        if self._worker is None:
            return
        poses, volume = self._worker.poses.take(), self._worker.volume.take()
        if poses is not None:
            self._show_poses(poses)
        if volume is not None:
            self._show_volume(volume)
            self._drawing_since = time.perf_counter()
            self._drawn.start()

    @Slot()
    def _on_drawn(self) -> None:
        """Choose when to pull next: a canvas that draws slowly is given fewer maps."""
        self._slow.worked(time.perf_counter() - self._drawing_since)

    def _show_poses(self, poses: events.PosesUpdated) -> None:
        self.latest_poses, self.truth_rotations = poses, poses.truth
        self.poses_updated.emit(poses)

    def _show_volume(self, volume: events.VolumeUpdated) -> None:
        self.latest_volume = volume
        self.volume_updated.emit(volume)

    @Slot()
    def _pull_batches(self) -> None:
        if self._worker is None:
            return
        while self._worker.losses:
            self.losses.append(self._worker.losses.popleft().loss)
        batch = self._worker.batch.take()
        if batch is not None:
            self.batch_done.emit(batch)

    @Slot(object)
    def _on_table_read(self, table: ParticleTable) -> None:
        self.message.emit("")
        self._show_table(table)

    @Slot(str)
    def _on_table_failed(self, sentence: str) -> None:
        self._clear_table(sentence)
        self.message.emit(sentence)

    @Slot(object)
    def _on_background_done(self, answer: tuple[Path, tuple[Snapshot, float]]) -> None:
        if self.active:
            # started while the folder was still being read: the run under way is the one to show
            return
        folder, (snapshot, written) = answer
        if self.sender() is self._following and folder != self.folder:
            # another run was opened in the meantime
            return
        if snapshot.stack is not self.stack:
            self._show_opened(folder, snapshot)
        for done in snapshot.history[len(self.history) :]:
            self.history.append(done)
            self.epoch_done.emit(done)
        self._show_poses(snapshot.poses)
        self._show_volume(snapshot.volume)
        self._written = written

    def _show_opened(self, folder: Path, snapshot: Snapshot) -> None:
        self._reset()
        self.folder, self.settings, self.stack = folder, snapshot.settings, snapshot.stack
        self.truth = snapshot.truth
        self._show_table(snapshot.stack.table)
        self.run_opened.emit(snapshot)
        self.message.emit(" ".join((f"Showing the run in {folder}.", *snapshot.notes)))
        self._follow.start()

    def _show_table(self, table: ParticleTable) -> None:
        self.table, self.no_table = table, ""
        self.table_changed.emit(table)

    def _clear_table(self, why: str) -> None:
        self.table, self.no_table = None, why
        self.table_cleared.emit(why)

    @Slot()
    def _look_again(self) -> None:
        """Read the followed run again where an epoch has been added to it."""
        if self.folder is None or self.active:
            self._follow.stop()
        elif last_written(self.folder) != self._written:
            # asked for once: an answer that takes long must not be dropped for the next
            self._written = last_written(self.folder)
            self._read_run(self._following, self.folder, self.stack)

    @Slot(str)
    def _on_background_failed(self, sentence: str) -> None:
        self.message.emit(sentence)
