"""A reconstruction from settings to results, as one stream of events."""

from __future__ import annotations

import math
import time
import traceback
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.load import open_particles
from napari_cryospin.engine.data.preprocess import WorkingStack, prepare
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.inference.amortized import AmortizedInference
from napari_cryospin.engine.inference.marginal.inference import MarginalInference
from napari_cryospin.engine.run import events
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.engine.run.devices import describe_device, find_device
from napari_cryospin.engine.run.folder import RunFolder
from napari_cryospin.engine.run.progress import with_progress
from napari_cryospin.engine.run.records import write_poses
from napari_cryospin.engine.run.results import write_results, write_set_aside
from napari_cryospin.engine.run.snapshot import poses_event
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.run.verdict import reach_verdict
from napari_cryospin.engine.stages import encodes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_cryospin.engine.inference.switching import SwitchFigures
    from napari_cryospin.engine.run.events import Event, PosesUpdated
    from napari_cryospin.engine.settings import Settings

# seconds between live maps, and between live tables of poses, within an epoch
_MAP_INTERVAL = 0.5
_POSES_INTERVAL = 2.0
_SEARCHING = "Searching poses"


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

    Attributes
    ----------
    stack, truth
        The working stack and what is known of its truth, once :class:`~.events.RunStarted` has been
        seen.
    """

    def __init__(self, settings: Settings, folder: Path, controls: Controls | None = None) -> None:
        self.settings = settings
        self.folder = RunFolder(folder)
        self.controls = controls or Controls()
        self.stack: WorkingStack | None = None
        self.truth: Truth | None = None
        self._resume = False
        self._last = {"map": 0.0, "poses": 0.0}

    @classmethod
    def resume(cls, folder: Path, controls: Controls | None = None) -> Reconstruction:
        """Return a run that goes on from the last checkpoint of a run folder.

        Raises
        ------
        InputError
            If the folder holds no run.
        """
        run = cls(RunFolder(folder).settings(), folder, controls)
        run._resume = True
        return run

    def run(self) -> Iterator[Event]:
        """Yield the events of the run. Never raises; exactly one terminal event ends the stream."""
        started = self._resume
        try:
            for event in self._events():
                started = started or isinstance(event, events.RunStarted)
                if started:
                    self.folder.append_event(event)
                yield event
        except Exception as error:
            failed = events.Failed(
                _sentence(error), traceback.format_exc(), isinstance(error, InputError)
            )
            if started:
                self.folder.append_event(failed)
            yield failed

    def _events(self) -> Iterator[Event]:
        settings = self.settings
        if settings.threads:
            torch.set_num_threads(settings.threads)
        if not self._resume:
            self.folder.require_new()
        device = find_device(settings.device)
        stack = yield from self._load()
        self.stack = stack = stack.to(device)
        self.truth = truth = Truth.of(settings.data, stack)
        training = Training(stack, settings)
        if self._resume:
            training.load_state(self.folder.read_checkpoint(device))
        else:
            self.folder.create(settings)
        write_set_aside(self.folder, stack)
        clock = training.clock
        yield events.RunStarted(
            folder=self.folder.path,
            n_particles=stack.n,
            box=stack.box,
            pixel_size=stack.pixel_size,
            n_heads=settings.model.heads if encodes(settings.stages) else 0,
            device=describe_device(device),
            seed=settings.seed,
            inference=training.kind,
            first_epoch=clock.epoch,
            n_epochs=clock.n_epochs(settings),
            truth_known=truth is not None,
            notes=stack.notes,
        )
        yield from self._train(training)
        if self.controls.stopped and not self.controls.keep:
            yield events.Finished(self.folder.path, stopped=True, kept=False, resolution=None)
            return
        yield from self._choose(training)
        yield self._checkpoint(training)
        resolution = yield from write_results(self.folder, training, truth)
        verdict = reach_verdict(training)
        self.folder.write_verdict(verdict)
        yield events.Finished(self.folder.path, self.controls.stopped, True, resolution, verdict)

    def _load(self) -> Generator[Event, None, WorkingStack]:
        data = self.settings.data
        if data.stack is None:
            raise InputError("No particle stack was chosen: give a .star, .cs or .mrcs file.")
        table = open_particles(data.stack, passthrough=data.passthrough)
        return (
            yield from with_progress(
                "Reading particles", lambda report: prepare(table, data, report)
            )
        )

    def _train(self, training: Training) -> Iterator[Event]:
        clock, settings = training.clock, self.settings
        while not self.controls.stopped:
            if training.stage_due:
                if training.last_stage or settings.stages[clock.stage].until == "hand":
                    if training.finish():
                        yield self._poses_event(training)
                        yield self._volume_event(training)
                    return
                by_criterion = clock.stage_left(settings) > 0
                yield self._switch(training, "criterion" if by_criterion else "schedule")
                continue
            yield from self._choose(training)
            yield events.EpochStarted(
                clock.epoch, clock.n_epochs(settings), training.kind, clock.stage, clock.start
            )
            yield from self._epoch(training)

    def _switch(self, training: Training, by: str) -> Event:
        training.next_stage()
        # what was asked for while the stage ended anyway is done
        self.controls.take_switch()
        clock = training.clock
        return events.Switched(clock.epoch, training.kind, clock.stage, clock.start, by)

    def _epoch(self, training: Training) -> Iterator[Event]:
        """Train one epoch; a stop leaves it unfinished, a switch by hand ends it early."""
        clock, inference = training.clock, training.inference
        started, losses = time.monotonic(), []
        training.begin_epoch()
        if clock.batch == 0:
            rows = training.rows_in_epoch
            for done, total in inference.begin_epoch(training.place(), rows):
                yield events.Progress(_SEARCHING, done, total)
                yield from self._live(training)
                yield from self._obey(training)
                if self.controls.stopped:
                    return
        batches = training.batches()
        rate = _Rate()
        by_hand = False
        while clock.batch < len(batches):
            yield from self._obey(training)
            if self.controls.stopped:
                return
            if not training.last_stage and self.controls.take_switch():
                by_hand = True
                break
            rows = batches[clock.batch]
            inference.set_place(training.place(len(batches)))
            losses.append(inference.train_batch(rows))
            clock.batch += 1
            rate.add(len(rows))
            left = self._images_left(training, len(batches))
            yield events.BatchDone(
                clock.epoch,
                clock.batch,
                len(batches),
                training.kind,
                losses[-1],
                rate.images_per_second,
                left / rate.images_per_second,
            )
            yield from self._live(training)
        inference.end_epoch(training.rows_in_epoch)
        yield from self._end_epoch(training, losses, time.monotonic() - started)
        if by_hand:
            yield self._switch(training, "hand")
            # unlike the end by epochs or criterion, nothing else tells a resumed run of it
            yield self._checkpoint(training)

    def _end_epoch(
        self, training: Training, losses: list[float], seconds: float
    ) -> Iterator[Event]:
        clock, truth = training.clock, self.truth
        volume, poses = training.map(), self._poses_event(training)
        comparison = None
        if truth is not None:
            comparison = truth.compare(poses.rotations, poses.shifts, poses.used, volume)
        done = events.EpochDone(
            epoch=clock.epoch,
            inference=training.kind,
            stage=clock.stage,
            start=clock.start,
            held_out_gain=_held_out_gain(training),
            switch=_switch_figures(training),
            loss=sum(losses) / len(losses) if losses else math.nan,
            head_share=training.poses.head_share(training.used),
            median_pose_error=comparison.median if comparison else None,
            mean_pose_error=comparison.mean if comparison else None,
            resolution=comparison.resolution if comparison else None,
            seconds=seconds,
        )
        self.folder.append_metrics(done)
        self.folder.write_map(f"volumes/epoch_{clock.epoch:04d}.mrc", volume, self._pixel_size)
        write_poses(self.folder, poses)
        yield self._volume_event(training)
        yield poses
        yield done
        clock.epoch, clock.stage_epoch, clock.batch = clock.epoch + 1, clock.stage_epoch + 1, 0
        yield self._checkpoint(training)

    def _live(self, training: Training) -> Iterator[Event]:
        """Yield the map and the poses as often as they are worth looking at."""
        now = time.monotonic()
        if now - self._last["map"] > _MAP_INTERVAL:
            self._last["map"] = now
            yield self._volume_event(training)
        if now - self._last["poses"] > _POSES_INTERVAL:
            self._last["poses"] = now
            yield self._poses_event(training)

    def _obey(self, training: Training) -> Iterator[Event]:
        if self.controls.paused:
            yield events.Paused()
            self.controls.wait_while_paused()
            yield events.Resumed()
        yield from self._choose(training)

    def _choose(self, training: Training) -> Iterator[Event]:
        used = self.controls.take_used()
        if used is not None and training.choose(used):
            yield events.ParticlesChosen(int(training.used.sum()))

    def _images_left(self, training: Training, n_batches: int) -> float:
        clock = training.clock
        epochs = clock.n_epochs(self.settings) - clock.epoch - clock.batch / n_batches
        return max(epochs, 0.0) * len(training.rows_in_epoch)

    @property
    def _pixel_size(self) -> float:
        assert self.stack is not None
        return self.stack.pixel_size

    def _volume_event(self, training: Training) -> Event:
        clock = training.clock
        return events.VolumeUpdated(clock.epoch, training.kind, training.map(), self._pixel_size)

    def _poses_event(self, training: Training) -> PosesUpdated:
        used = training.used.cpu().numpy()
        return poses_event(
            training.poses, used, training.clock.epoch, training.kind, self._pixel_size, self.truth
        )

    def _checkpoint(self, training: Training) -> Event:
        path = self.folder.write_checkpoint(training.state(), training.clock.epoch)
        return events.CheckpointWritten(path, training.clock.epoch)


def _held_out_gain(training: Training) -> float | None:
    """Return what the held-out particles said last, nats per particle, where they were asked."""
    inference, switch = training.inference, _switch_figures(training)
    if switch is not None:
        return switch.gain
    if not isinstance(inference, MarginalInference) or inference.evidence is None:
        return None
    return float(inference.evidence.gain.mean())


def _switch_figures(training: Training) -> SwitchFigures | None:
    inference = training.inference
    return inference.criterion.figures if isinstance(inference, AmortizedInference) else None


class _Rate:
    """Images per second, smoothed over the last dozen batches."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.images_per_second = 0.0

    def add(self, images: int) -> None:
        now = time.monotonic()
        rate = images / max(now - self._last, 1e-6)
        self._last = now
        old = self.images_per_second
        self.images_per_second = rate if old == 0 else 0.9 * old + 0.1 * rate


def _sentence(error: Exception) -> str:
    """Return what went wrong as one sentence for the user."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return (
            "The device ran out of memory: choose a smaller working box, batch size or encoder "
            "width, or fewer heads; the run can be resumed from its last checkpoint."
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'A file'} could not be used: {error.strerror}."
    return f"The run failed unexpectedly ({type(error).__name__}: {error})."
