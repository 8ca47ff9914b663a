"""A reconstruction from settings to results, as one stream of events."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_cryospin.engine import events
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.failures import tell, why
from napari_cryospin.engine.half_resolution import HalfResolution
from napari_cryospin.engine.run.checkpoint_reading import latest, read_checkpoint
from napari_cryospin.engine.run.class_verdicts import reach_verdicts
from napari_cryospin.engine.run.controls import Controls, Interrupted
from napari_cryospin.engine.run.devices import describe_device, find_device, use_threads
from napari_cryospin.engine.run.fingerprint import fingerprint_of, require_particles
from napari_cryospin.engine.run.loading import load_particles
from napari_cryospin.engine.run.loop import Loop
from napari_cryospin.engine.run.progress import Stopped
from napari_cryospin.engine.run.results import write_results, write_set_aside
from napari_cryospin.engine.run.snapshot import truth_or_note
from napari_cryospin.engine.run.steering import Steering
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.run.warm_start import begun
from napari_cryospin.engine.runfolder.fingerprint import Fingerprint
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.lock import RunLock
from napari_cryospin.engine.runfolder.mending import mend
from napari_cryospin.engine.runfolder.parent import notes_on_branch
from napari_cryospin.engine.runfolder.place import (
    Holds,
    clear_beginning,
    clear_run,
    has_results,
    require_free,
    require_kept,
    sweep,
    what_is_in,
)
from napari_cryospin.engine.stages import encodes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    import torch

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.events import Event
    from napari_cryospin.engine.run.training import Training
    from napari_cryospin.engine.runfolder.commands import Command
    from napari_cryospin.engine.settings import Settings

_PREPARING = "Preparing the first stage"
_JUDGING = "Judging the map"


class Reconstruction:
    """One run: loads the data, trains through all stages, writes the run folder.

    Parameters
    ----------
    settings
        Settings of the run; ``settings.data.stack`` is needed.
    folder
        The run folder, made by the run.
    controls
        Commands are read from here between batches.
    commands
        What was done by hand in another run, to be done again in this one.

    Attributes
    ----------
    particles, truth
        The particles in use and what is known of their truth, once
        :class:`~.events.RunStarted` has been seen.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        controls: Controls | None = None,
        commands: Sequence[Command] = (),
    ) -> None:
        self.settings = settings
        self.folder = RunFolder(folder)
        self.controls = controls or Controls()
        self._commands = commands
        self.particles: Particles | None = None
        self.truth: Truth | None = None
        self._resume = self._logging = False
        self._lock: RunLock | None = None

    @classmethod
    def resume(
        cls, folder: Path, controls: Controls | None = None, changes: dict[str, Any] | None = None
    ) -> Reconstruction:
        """Return a run that goes on from the last checkpoint of a run folder.

        A run without a checkpoint is begun again.

        Parameters
        ----------
        folder
            The run folder.
        controls
            Commands are read from here between batches.
        changes
            Settings to change, by dotted name, such as "data.stack" for particles that were moved.

        Raises
        ------
        InputError
            If the folder holds no run.
        """
        settings = RunFolder(folder).settings()
        for where, value in (changes or {}).items():
            settings.set(where, value)
        run = cls(settings, folder, controls)
        run._resume = True
        return run

    def run(self) -> Generator[Event, None, None]:
        """Yield the events of the run. Never raises; exactly one terminal event ends the stream."""
        try:
            for event in self._events():
                if self._logging:
                    self.folder.append_event(event)
                yield event
        except Exception as error:
            failed = self._failed(error)
            # what ended the run may be in the way of its log too
            with suppress(Exception):
                if self._logging or self._is_ours(error):
                    self.folder.append_event(failed)
            yield failed
        finally:
            if self._lock is not None:
                self._lock.release()

    def _is_ours(self, error: Exception) -> bool:
        """Whether the folder is this run's, which has not begun to log: who is refused is not."""
        made = self._lock is not None and self.folder.settings_path.exists()
        return made and not isinstance(error, InputError)

    def _failed(self, error: Exception) -> events.Failed:
        resumable = bool(self.folder.checkpoints())
        told = tell(error, self.folder.path, resumable=resumable)
        return events.Failed(told.message, traceback.format_exc(), told.bad_input)

    def _events(self) -> Iterator[Event]:
        notes = [*use_threads(self.settings.threads)]
        checkpoint = self._claim()
        device = find_device(self.settings.device)
        found = self._last_checkpoint(device) if checkpoint else None
        before = self._fingerprint_in(found)
        try:
            particles = yield from load_particles(
                self.settings,
                device,
                notes,
                lambda: self.controls.stopped,
                self.folder.settings_path if self._resume else None,
            )
        except Stopped:
            yield self._stopped_early(found is not None)
            return
        fingerprint = fingerprint_of(particles, self.settings)
        if before is not None:
            require_particles(before, particles)
        yield events.Progress(_PREPARING, 0, 0)
        self.particles = particles
        self.truth = self._truth(particles, notes)
        training = begun(particles, self.settings, notes, anew=found is None)
        steering = Steering(self.folder.commands_path, self._commands)
        steering.require_fits(particles.n)
        if self.controls.stopped:
            yield self._stopped_early(found is not None)
            return
        if found is None:
            self._begin(fingerprint, steering)
        else:
            notes += self._restore(training, found, device)
            notes += self._go_on()
        # the state would stay in memory for as long as the run takes
        resumed, found = found is not None, None
        write_set_aside(self.folder, particles)
        assert self._lock is not None
        loop = Loop(
            training,
            self.folder,
            self._lock,
            self.controls,
            self.truth,
            before or fingerprint,
            steering,
        )
        over = resumed and self._over(training)
        if resumed and not over:
            steering.go_on(loop.helm.moment, len(self.settings.stages))
        if steering.n_to_come and not over:
            notes.append(
                f"Commands that were given by hand are repeated: {steering.n_to_come} to come."
            )
        self._logging = not over
        yield self._started(training, (*particles.notes, *notes))
        yield from self._as_it_was(loop) if over else self._to_the_end(loop)

    def _to_the_end(self, loop: Loop) -> Iterator[Event]:
        """Train, and write the results."""
        controls, folder = self.controls, self.folder
        try:
            yield from loop.events()
        except Interrupted:
            pass  # while a map was judged, which changes nothing
        if controls.stopped and not controls.keep:
            yield self._discard()
            return
        yield from loop.take_commands()
        yield loop.checkpoint()
        if controls.stopped and not controls.results:
            yield events.Finished(folder.path, True, True, None, results=False)
            return
        loop.helm.record_stop()
        try:
            with controls.may_interrupt():
                results = yield from write_results(folder, loop.training, self.truth)
                yield events.Progress(_JUDGING, 0, 0)
                verdict = reach_verdicts(loop.training, results.halves)
                folder.write_verdict(verdict)
        except Interrupted:
            yield events.Finished(folder.path, True, True, None, results=False)
            return
        if controls.stopped and not controls.keep:
            # said while the results were being written
            yield self._discard()
            return
        yield events.Finished(folder.path, controls.stopped, True, results.resolution, verdict)

    def _as_it_was(self, loop: Loop) -> Iterator[Event]:
        """Show the end of a run that had finished before it was resumed."""
        last = self.folder.last_event() or {}
        yield loop.poses_event()
        yield loop.volume_event()
        yield events.Finished(
            self.folder.path,
            False,
            True,
            HalfResolution.of_figures(last.get("halves")),
            self.folder.verdict(),
            before=True,
        )

    def _over(self, training: Training) -> bool:
        """Whether the run had come to its end, and nothing of it is missing."""
        last = self.folder.last_event() or {}
        return (
            training.over
            and last.get("event") == "Finished"
            and last.get("stopped") is False
            and has_results(self.folder.path)
            and self._has_verdict()
        )

    def _has_verdict(self) -> bool:
        try:
            return self.folder.verdict() is not None
        except InputError:
            return False

    def _claim(self) -> bool:
        """Lock the folder of a run that is there already; return whether it has a checkpoint.

        Raises
        ------
        InputError
            If the run must not be written here.
        """
        path, data = self.folder.path, self.settings.data
        if not self._resume:
            held = what_is_in(path)
            if held is Holds.NOTHING or not path.is_dir():
                require_free(path)
                return False
        self._lock_if_there()
        held = what_is_in(path)
        if self._resume and held is not Holds.FOREIGN:
            # those of a run that was killed early as well: it comes to the same end
            self._commands = self.folder.commands()
        if self._resume and held is Holds.RUN:
            require_kept(path, (data.stack, data.passthrough, data.truth_star, data.truth_map))
            return True
        if self._resume and held is Holds.FOREIGN:
            raise InputError(self.folder.no_checkpoint)
        require_free(path)
        return False

    def _lock_if_there(self) -> None:
        """Lock the folder of our own run; a folder of others is left alone."""
        if what_is_in(self.folder.path) is not Holds.FOREIGN:
            self._lock = RunLock.acquire(self.folder.path)

    def _last_checkpoint(self, device: torch.device) -> tuple[Path, dict[str, Any]]:
        """Return the newest checkpoint that is whole."""
        found: list[dict[str, Any]] = []

        def take(path: Path) -> None:
            found.append(read_checkpoint(path, device))

        path, _ = latest(self.folder.checkpoints(), take, none=self.folder.no_checkpoint)
        return path, found[0]

    def _restore(
        self, training: Training, found: tuple[Path, dict[str, Any]], device: torch.device
    ) -> tuple[str, ...]:
        """Take in the last checkpoint that can be used; return a note on each that cannot."""

        def take(path: Path) -> None:
            state = found[1] if path == found[0] else read_checkpoint(path, device)
            training.load_state(state)

        return latest(self.folder.checkpoints(), take, none=self.folder.no_checkpoint)[1]

    def _truth(self, particles: Particles, notes: list[str]) -> Truth | None:
        """Return the truth; a run that goes on does without, where its files have gone."""
        if self._resume:
            return truth_or_note(self.settings, particles, notes)
        return Truth.of(self.settings.data, particles, self.settings.model.symmetry)

    def _fingerprint_in(self, found: tuple[Path, dict[str, Any]] | None) -> Fingerprint | None:
        """Return what a checkpoint was made of, its settings being as they were."""
        if found is None or "fingerprint" not in found[1]:
            return None
        fingerprint = Fingerprint.from_figures(found[1]["fingerprint"])
        fingerprint.require_settings(self.settings, self.folder.settings_path)
        return fingerprint

    def _begin(self, fingerprint: Fingerprint, steering: Steering) -> None:
        """Make the folder, or clear what a run that was killed early has left in it."""
        path = self.folder.path
        if self._lock is None:
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"The run folder {path} cannot be made: {why(error)}.") from error
            self._lock = RunLock.acquire(path)
            # another may have begun here while the particles were read
            require_free(path)
        sweep(path)
        clear_beginning(path)
        steering.write()
        self.folder.create(self.settings, fingerprint)

    def _go_on(self) -> tuple[str, ...]:
        """Clear what a killed process left, keep where the particles are; return notes on it."""
        sweep(self.folder.path)
        notes = (*notes_on_branch(self.folder), *mend(self.folder))
        if self.folder.settings() != self.settings:
            self.folder.write_settings(self.settings)
        return notes

    def _stopped_early(self, resumed: bool) -> Event:
        if self._lock is not None and not self.controls.keep:
            return self._discard()
        return events.Finished(self.folder.path, True, resumed, None, results=False)

    def _discard(self) -> Event:
        """Remove what the run has written, and its folder where nothing else is in it."""
        assert self._lock is not None
        path = self.folder.path
        self._lock.require_held()
        # the log goes with the rest
        self._logging = False
        left = clear_run(path)
        self._lock.release()
        with suppress(OSError):
            path.rmdir()
        return events.Finished(path, True, False, None, results=False, discarded=True, left=left)

    def _started(self, training: Training, notes: tuple[str, ...]) -> Event:
        particles, settings, clock = training.particles, training.settings, training.clock
        return events.RunStarted(
            folder=self.folder.path,
            n_particles=particles.n,
            box=particles.box,
            pixel_size=particles.pixel_size,
            n_heads=settings.model.heads if encodes(settings.stages) else 0,
            device=describe_device(particles.device),
            seed=settings.seed,
            inference=training.kind,
            first_epoch=clock.epoch,
            n_epochs=clock.n_epochs(settings),
            truth_known=self.truth is not None,
            notes=notes,
        )
