"""What the explorer's views look at: a particle, a state of the run, a way of looking."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.engine.posterior.options import SHIFT_EXTENT, PosteriorOptions
from napari_cryospin.gui.work.background import Background
from napari_cryospin.gui.work.by_hand import by_hand_of, said_since

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.events import PosesUpdated, VolumeUpdated
    from napari_cryospin.gui.work.session import Session


class Explorer(QObject):
    """The one state that all views of the explorer share; it follows the session.

    Parameters
    ----------
    session
        Where the stack, the live state and the run folder come from.

    Attributes
    ----------
    particle
        Chosen particle, an index into the working stack.
    options
        How posteriors are computed: low-pass, temperature.
    epoch
        Recorded epoch that is shown, or None for the live state.
    volume, poses
        The state that is shown, or None before there is one.
    recorded
        Epochs that the run has recorded.
    shown_class
        Class whose map is shown, from 0, or None: all side by side.
    """

    particle_changed = Signal(int)
    options_changed = Signal(object)
    volume_changed = Signal(object)
    poses_changed = Signal(object)
    epoch_changed = Signal(object)
    recorded_changed = Signal(object)
    class_changed = Signal(object)
    run_changed = Signal()
    message = Signal(str)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.particle = 0
        self.options = PosteriorOptions()
        self.epoch: int | None = None
        self.volume: VolumeUpdated | None = None
        self.poses: PosesUpdated | None = None
        self.recorded: list[int] = []
        self.shown_class: int | None = None
        # poses of the shown epoch as they were recorded
        self._recorded_poses: PosesUpdated | None = None
        self._background = Background(self)
        self._background.done.connect(self._on_read)
        self._background.failed.connect(self._on_unreadable)
        session.run_started.connect(self._on_run)
        session.run_opened.connect(self._on_run)
        session.volume_updated.connect(self._on_volume)
        session.poses_updated.connect(self._on_poses)
        session.epoch_done.connect(self._on_epoch_done)

    @property
    def particles(self) -> Particles | None:
        """The particles of the session."""
        return self.session.particles

    @property
    def n_particles(self) -> int:
        """Number of particles of the working stack, 0 without one."""
        return 0 if self.particles is None else self.particles.n

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of the particles in use: rows of the particle table from 1, ascending, (n,)."""
        if self.particles is None:
            return np.empty(0, dtype=np.int64)
        numbers: NDArray[np.int64] = np.asarray(self.particles.rows, dtype=np.int64) + 1
        return numbers

    def number(self, particle: int) -> int:
        """Return the number by which people know a particle: its row of the table from 1."""
        return int(self.numbers[particle])

    @property
    def shifts(self) -> NDArray[np.floating] | None:
        """Shown origin shifts (x, y) of all particles, pixels of the working box, (n, 2)."""
        if self.poses is None or self.particles is None:
            return None
        return self.poses.shifts / self.particles.pixel_size

    @property
    def scales(self) -> NDArray[np.floating] | None:
        """What the shown map is multiplied with to fit each particle, (n,)."""
        return None if self.poses is None else self.poses.scales

    @property
    def n_classes(self) -> int:
        """Number of maps that are shown, 1 where there is none."""
        return 1 if self.volume is None else len(self.volume.maps)

    @property
    def surveyed_class(self) -> int:
        """The class that figures of many particles are of, from 0: the first of all shown."""
        return self.shown_class or 0

    @Slot(object)
    def show_class(self, number: int | None) -> None:
        """Show the map of one class, from 0, or all of them (None)."""
        if number != self.shown_class:
            self.shown_class = number
            self.class_changed.emit(number)

    @Slot(int)
    def choose(self, particle: int) -> None:
        """Choose a particle; a number outside the stack is brought into it."""
        particle = int(np.clip(particle, 0, max(self.n_particles - 1, 0)))
        if particle != self.particle:
            self.particle = particle
            self.particle_changed.emit(particle)

    def set_options(self, **changes: Any) -> None:
        """Change how posteriors are computed: fields of the options."""
        options = replace(self.options, **changes)
        if options != self.options:
            self.options = options
            self.options_changed.emit(options)

    @Slot(object)
    def show_epoch(self, epoch: int | None) -> None:
        """Show a recorded epoch, read in the background, or the live state (None)."""
        if epoch == self.epoch:
            return
        self.epoch, self._recorded_poses = epoch, None
        self.epoch_changed.emit(epoch)
        if epoch is None:
            self._show(self.session.latest_volume, self.session.latest_poses)
        else:
            self._read(epoch)

    def _read(self, epoch: int) -> None:
        session = self.session
        folder, particles, truth = session.folder, session.particles, session.truth

        def task() -> tuple[int, VolumeUpdated, PosesUpdated]:
            from napari_cryospin.engine.run.snapshot import read_epoch
            from napari_cryospin.engine.runfolder.folder import RunFolder

            assert folder is not None and particles is not None
            return (epoch, *read_epoch(RunFolder(folder), epoch, particles, truth))

        self._background.submit(task)

    def _show(self, volume: VolumeUpdated | None, poses: PosesUpdated | None) -> None:
        # poses first: who hears of the map asks for the particle's shift and candidates
        self.poses, self.volume = poses, volume
        if poses is not None:
            self.poses_changed.emit(poses)
        if volume is not None:
            self.volume_changed.emit(volume)

    @Slot(object)
    def _on_run(self, _event: object) -> None:
        self.epoch = self.volume = self.poses = self._recorded_poses = None
        self.show_class(None)
        settings = self.session.settings
        searched = SHIFT_EXTENT if settings is not None and settings.model.shifts else 0.0
        self.options = replace(self.options, shift_extent=searched)
        # what metrics.csv has lost may still be recorded
        told = (done.epoch for done in self.session.history)
        self.recorded = sorted({*told, *_recorded(self.session.folder)})
        self.choose(self.particle)
        self.run_changed.emit()
        self.epoch_changed.emit(None)
        self.recorded_changed.emit(self.recorded)

    @Slot(object)
    def _on_volume(self, volume: VolumeUpdated) -> None:
        if self.epoch is None:
            self.volume = volume
            self.volume_changed.emit(volume)

    @Slot(object)
    def _on_poses(self, poses: PosesUpdated) -> None:
        if self.epoch is None:
            self.poses = poses
        elif self._recorded_poses is not None and self.poses is not None:
            shown = said_since(self._recorded_poses, poses)
            if np.array_equal(by_hand_of(shown), by_hand_of(self.poses)):
                return
            # what is said by hand is said of all epochs
            self.poses = shown
        else:
            return
        self.poses_changed.emit(self.poses)

    @Slot(object)
    def _on_epoch_done(self, done: Any) -> None:
        if done.epoch not in self.recorded:
            self.recorded.append(done.epoch)
            self.recorded_changed.emit(self.recorded)

    @Slot(object)
    def _on_read(self, answer: tuple[int, VolumeUpdated, PosesUpdated]) -> None:
        epoch, volume, poses = answer
        if epoch == self.epoch:
            self._recorded_poses = poses
            self._show(volume, said_since(poses, self.session.latest_poses))

    @Slot(str)
    def _on_unreadable(self, sentence: str) -> None:
        self.show_epoch(None)
        self.message.emit(sentence)


def _recorded(folder: Path | None) -> list[int]:
    """Return the epochs whose poses lie in a run folder."""
    if folder is None:
        return []
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.runfolder.records import recorded_epochs

    return recorded_epochs(RunFolder(folder))


def candidates_of(poses: PosesUpdated | None, particle: int) -> NDArray[np.float32]:
    """Return the candidates (K, 3, 3) of a particle; none where no head has spoken."""
    candidates: NDArray[np.float32] = _told(poses, particle, "candidates", (0, 3, 3))
    return candidates


def heads_of(poses: PosesUpdated | None, particle: int) -> NDArray[np.int64]:
    """Return the head of each of the candidates of a particle, (K,)."""
    if poses is None:
        return np.empty(0, dtype=np.int64)
    here = candidates_there(poses, particle)
    return poses.heads(particle)[here]


def losses_of(poses: PosesUpdated | None, particle: int) -> NDArray[np.float32]:
    """Return the losses of the candidates of a particle, (K,)."""
    losses: NDArray[np.float32] = _told(poses, particle, "candidate_losses", (0,))
    return losses


def winner_of(poses: PosesUpdated | None, particle: int) -> int:
    """Return which of the candidates of a particle won, or −1."""
    if poses is None or poses.winner[particle] < 0:
        return -1
    found = np.flatnonzero(
        np.flatnonzero(candidates_there(poses, particle)) == poses.winner[particle]
    )
    return int(found[0]) if len(found) else -1


def candidates_there(poses: PosesUpdated, particle: int) -> NDArray[np.bool_]:
    """Return which candidates of a particle there are, (K,)."""
    # the candidates of a particle that no head has seen yet are placeholders
    if poses.winner[particle] < 0:
        return np.zeros(poses.candidate_losses.shape[1], dtype=bool)
    there: NDArray[np.bool_] = np.isfinite(poses.candidate_losses[particle])
    if poses.candidate_classes is not None and poses.classes is not None:
        # poses of another map have no place beside this one
        there &= poses.candidate_classes[particle] == poses.classes[particle]
    return there


def _told(
    poses: PosesUpdated | None, particle: int, name: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    if poses is None:
        return np.empty(shape, dtype=np.float32)
    told: NDArray[np.float32] = getattr(poses, name)[particle][candidates_there(poses, particle)]
    return told
