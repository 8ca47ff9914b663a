"""The session: one per dock. It owns the thread, the state and the latest of everything."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.engine import events
from napari_cryospin.engine.fsc_events import FscUpdated
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.gui.work.background import Background
from napari_cryospin.gui.work.by_hand import ByHand
from napari_cryospin.gui.work.follower import Follower
from napari_cryospin.gui.work.reading import read_table
from napari_cryospin.gui.work.resting_timer import RestingTimer
from napari_cryospin.gui.work.states import SessionState, state_of
from napari_cryospin.gui.work.threads import WorkerThread
from napari_cryospin.gui.work.worker import ReconstructionWorker, hurry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.run.following import Seen
    from napari_cryospin.engine.run.truth import Truth
    from napari_cryospin.engine.runfolder.standing import Standing
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.switch_at import SwitchAt

logger = logging.getLogger(__name__)

VOLUME_INTERVAL_MS = 500
# where drawing is slow (no GPU), it gets at most one part in so many of the main thread's time,
# but a new map at least so often
_REST, MOST_INTERVAL_MS = 30, 8_000
PLOT_INTERVAL_MS, _PLOT_REST, _MOST_PLOT_INTERVAL_MS = 100, 10, 1_000
# a batch, a checkpoint and the final maps fit in here
STOP_TIMEOUT_MS = 60_000

NO_TABLE = "Choose a particle stack in the Data tab first."


class Session(QObject):
    """Listens to widgets (methods) and to the engine (events); tells both by signals.

    All signals are emitted on the main thread. Attributes hold the latest state.

    Attributes
    ----------
    state, particles, settings, folder
        Present state; particles, settings and folder of the run.
    table
        The particle table that was chosen last, or None while it is read and where it cannot be.
    no_table
        Why there is no table, a sentence; empty where there is one.
    held
        Why no run may be started, a sentence; empty where one may.
    standing
        How the shown run stands in its folder; None while this session runs it, and before one.
    truth
        What is known of the truth, or None.
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
    epoch_done, fsc_updated = Signal(object), Signal(object)
    volume_updated = Signal(object)
    poses_updated = Signal(object)
    switched, rescheduled = Signal(object), Signal(object)
    finished, failed = Signal(object), Signal(object)
    run_opened = Signal(object)
    standing_changed = Signal(object)
    message = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = SessionState.IDLE
        self.table: ParticleTable | None = None
        self.no_table = NO_TABLE
        self.particles: Particles | None = None
        self.settings: Settings | None = None
        self.folder: Path | None = None
        self.standing: Standing | None = None
        self.truth: Truth | None = None
        self.by_hand = ByHand(self)
        self._reset()
        self._thread: WorkerThread | None = None
        self._worker: ReconstructionWorker | None = None
        self._controls = Controls()
        self._tables = Background(self)
        self._tables.done.connect(self._on_table_read)
        self._tables.failed.connect(self._on_table_failed)
        self._follower = Follower(self)
        self._follower.opened.connect(self._on_opened)
        self._follower.looked.connect(self._on_looked)
        self._follower.failed.connect(self.message)
        self._slow = RestingTimer(VOLUME_INTERVAL_MS, _REST, self, MOST_INTERVAL_MS)
        self._slow.timeout.connect(self._pull_states)
        # each repaints the window
        self._fast = RestingTimer(PLOT_INTERVAL_MS, _PLOT_REST, self, _MOST_PLOT_INTERVAL_MS)
        self._fast.timeout.connect(self._pull_batches)
        self._closed = False
        self.held = ""

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
        self._follower.drop()
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
        self._follower.open(folder)

    def start(self, settings: Settings, folder: Path) -> None:
        """Start a new run."""
        self._launch(settings, folder)

    def resume_run(self, folder: Path, history: Sequence[events.EpochDone] = ()) -> None:
        """Go on with a run from its last checkpoint; ``history`` has its epochs, if not shown."""
        self._launch(None, folder, history)

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

    def set_switch(self, at: SwitchAt | None) -> None:
        """Have the present stage end otherwise; see :meth:`.Controls.set_switch`."""
        self._controls.set_switch(at)

    def set_used(self, used: NDArray[np.bool_] | None) -> None:
        """Use only these particles, (n,), or all; see :meth:`.Controls.set_used`."""
        self._controls.set_used(used)

    def say(self, particles: NDArray[np.int64], word: int) -> None:
        """Say of particles (m,) whether they belong; see :meth:`.Controls.say`."""
        self._controls.say(particles, word)
        self.show_again()

    def show_again(self) -> None:
        """Show the poses with what was said by hand since."""
        if self.latest_poses is not None:
            self._show_poses(None)

    def stop(self, keep: bool = True) -> None:
        """End the run; ``keep`` writes its results, otherwise what it wrote is removed."""
        if self.active:
            self._set_state(SessionState.STOPPING)
            self._controls.stop(keep=keep)

    @Slot()
    def close(self) -> None:
        """Let a run that is under way end with a checkpoint; nobody waits for its end."""
        if self._closed:
            return
        self._closed = True
        self._slow.stop()
        self._fast.stop()
        if self._thread is not None:
            self._thread.leave()

    def _reset(self) -> None:
        self.latest_volume: events.VolumeUpdated | None = None
        self.latest_poses: events.PosesUpdated | None = None
        self.history: list[events.EpochDone] = []
        self.losses: list[float] = []
        self.by_hand.forget()

    def _launch(
        self, settings: Settings | None, folder: Path, history: Sequence[events.EpochDone] = ()
    ) -> None:
        if self.active or self._closed:
            self.message.emit("A run is under way already.")
            return
        if self.held:
            self.message.emit(self.held)
            return
        if settings is not None or folder != self.folder:
            self._reset()
            self.history.extend(history)
        self.settings, self.folder = settings or self.settings, folder
        self._follower.stop()
        self.standing = None
        self._controls = Controls()
        self._worker = ReconstructionWorker(settings, folder, self._controls)
        self._thread = WorkerThread(
            self._worker,
            self,
            "cryospin-reconstruction",
            hurry=partial(hurry, self._controls),
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
        # a batch that came before must not be shown after it
        self._pull_batches()
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
            case FscUpdated():
                self.fsc_updated.emit(event)
            case events.Switched():
                self.switched.emit(event)
            case events.CommandMissed() | events.ParticlesChosen() | events.MembersChosen():
                self.message.emit(event.sentence())
            case events.Rescheduled():
                self.rescheduled.emit(event)
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
        self.particles, self.truth = self._worker.particles, self._worker.truth
        self.settings = self._worker.settings
        self._set_running_state(SessionState.RUNNING)
        self.run_started.emit(event)
        for note in event.notes:
            self.message.emit(note)

    @Slot(object)
    def _on_ended(self, last: events.Event) -> None:
        self._pull_all()
        self._slow.stop()
        self._fast.stop()
        self.standing = None if self._worker is None else self._worker.standing
        thread, self._thread, self._worker = self._thread, None, None
        if thread is not None:
            thread.end()
        if isinstance(last, events.Failed):
            logger.error("%s", last.details)
            self._set_state(SessionState.FAILED)
            self.failed.emit(last)
            self.message.emit(last.message)
        elif isinstance(last, events.Finished):
            self._set_state(SessionState.STOPPED if last.stopped else SessionState.FINISHED)
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
            self._slow.draws()
            self._show_volume(volume)

    def _show_poses(self, poses: events.PosesUpdated | None) -> None:
        self.latest_poses = self.by_hand.shown(poses)
        self.poses_updated.emit(self.latest_poses)

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
            self._fast.draws()
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
    def _on_opened(self, seen: Seen) -> None:
        self._reset()
        self.folder, self.settings, self.particles = seen.folder, seen.settings, seen.particles
        self.truth = None if seen.snapshot is None else seen.snapshot.truth
        self.standing = None
        self._show_table(seen.particles.table)
        self.run_opened.emit(seen)
        self._show_seen(seen, f"Showing the run in {seen.folder.name}.")

    @Slot(object)
    def _on_looked(self, seen: Seen) -> None:
        self._show_seen(seen)

    def _show_seen(self, seen: Seen, *said: str) -> None:
        """Show what is new of the run that is looked at."""
        before, self.standing = self.standing, seen.standing
        snapshot = seen.snapshot
        if snapshot is not None and snapshot.volume is not self.latest_volume:
            self.settings, self.particles, self.truth = (
                seen.settings,
                seen.particles,
                snapshot.truth,
            )
            for done in snapshot.history[len(self.history) :]:
                self.history.append(done)
                self.epoch_done.emit(done)
            self._show_poses(snapshot.poses)
            self._show_volume(snapshot.volume)
        self._set_state(state_of(seen.standing))
        if seen.standing != before:
            self.standing_changed.emit(seen.standing)
        sentence = seen.standing.sentence()
        # once: what is said of other things in the meantime stands as long
        if said or before is None or sentence != before.sentence():
            notes = () if snapshot is None else snapshot.notes
            self.message.emit(" ".join((*said, *notes, sentence)))

    def _show_table(self, table: ParticleTable) -> None:
        self.table, self.no_table = table, ""
        self.table_changed.emit(table)

    def _clear_table(self, why: str) -> None:
        self.table, self.no_table = None, why
        self.table_cleared.emit(why)
