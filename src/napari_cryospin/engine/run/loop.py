"""The training loop: epochs and their batches, the commands between them, and what is recorded."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from napari_cryospin.engine import events
from napari_cryospin.engine.run.checkpoint_writing import keep_branch_point, write_checkpoint
from napari_cryospin.engine.run.encoder_file import write_encoder
from napari_cryospin.engine.run.epoch import Due, Ending, Epoch, Ready, Searched, Trained
from napari_cryospin.engine.run.half_comparison import live_comparison
from napari_cryospin.engine.run.helm import Helm
from napari_cryospin.engine.run.pace import StagePace
from napari_cryospin.engine.run.snapshot import poses_event
from napari_cryospin.engine.run.truth import beside_truth
from napari_cryospin.engine.runfolder.records import write_poses
from napari_cryospin.engine.switch_at import end_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cryospin.engine.events import Event, PosesUpdated
    from napari_cryospin.engine.run.controls import Controls
    from napari_cryospin.engine.run.steering import Steering
    from napari_cryospin.engine.run.training import Training
    from napari_cryospin.engine.run.truth import Truth
    from napari_cryospin.engine.runfolder.fingerprint import Fingerprint
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.runfolder.lock import RunLock

# seconds between live maps, and between live tables of poses, within an epoch
_MAP_INTERVAL = 0.5
_POSES_INTERVAL = 2.0
# of the time at most, for copies of the poses of large stacks
_POSES_SHARE = 0.01
_MEASURING = "Measuring the map"
_JUDGING_START = "Judging the start"
_ENDING = "Finishing the stage"
_BEGINNING = "Beginning the next stage"
# checkpoints by time take no more than one part in so many of it
_CHECKPOINT_SHARE = 50


class Loop:
    """Trains through all stages, in events.

    Parameters
    ----------
    training
        What learns.
    folder
        The run folder, which exists.
    lock
        The lock of the run folder.
    controls
        Commands, read between batches.
    truth
        What is known of the truth, or None.
    fingerprint
        What the run is made of; it goes into every checkpoint.
    steering
        What is done by hand is written down there, and what was done before is done again.
    """

    def __init__(
        self,
        training: Training,
        folder: RunFolder,
        lock: RunLock,
        controls: Controls,
        truth: Truth | None,
        fingerprint: Fingerprint,
        steering: Steering,
    ) -> None:
        self.training, self.folder, self.lock = training, folder, lock
        self.controls, self.truth = controls, truth
        self.settings, self.pixel_size = training.settings, training.particles.pixel_size
        self._fingerprint = fingerprint.figures()
        self._pace = StagePace()
        self._last = {"map": 0.0, "poses": 0.0}
        self._poses_took, self._n_images, self._epoch_began = 0.0, 0, 0.0
        self._checkpoint_at, self._checkpoint_took = time.monotonic(), 0.0
        self.helm = Helm(training, lock, controls, steering)

    def events(self) -> Iterator[Event]:
        """Train until the last stage ends, or a stop."""
        training, clock, settings = self.training, self.training.clock, self.settings
        if (switch := self.helm.steering.take_unfinished()) is not None:
            self.helm.n_batches = switch.batches
            yield from self._switch("hand", switch.batch)
        while True:
            # in an epoch that is gone on with, commands are taken between its batches
            if not training.in_midst:
                yield from self.take_commands()
            if self.controls.stopped:
                return
            if training.stage_due:
                if training.start_unjudged:
                    yield events.Progress(_JUDGING_START, 0, 0)
                with self.controls.may_interrupt():
                    training.judge_start()
                if training.over:
                    self.helm.ended = True
                    for done, total in training.finish():
                        yield events.Progress(_ENDING, done, total)
                    yield self.poses_event()
                    yield self.volume_event()
                    return
                by_criterion = clock.stage_left(settings) > 0
                yield from self._switch("criterion" if by_criterion else "schedule")
                continue
            yield self._epoch_started()
            yield from self._epoch()

    def _epoch_started(self) -> Event:
        training, clock = self.training, self.training.clock
        return events.EpochStarted(
            clock.epoch,
            clock.n_epochs(self.settings),
            training.kind,
            clock.stage,
            clock.start,
            clock.stage_epoch,
            end_of(self.settings.stages[clock.stage]),
        )

    def _switch(self, by: str, batch: int | None = None) -> Iterator[Event]:
        """Begin the next stage or start, by hand after so many batches of the last epoch."""
        n_batches = None if batch is None else self.helm.n_batches
        self.helm.n_batches = None
        yield events.Progress(_BEGINNING, 0, 0)
        training = self.training
        for done, total in training.next_stage_in_steps():
            yield events.Progress(_ENDING, done, total)
        self._pace.begin_stage()
        # what was asked for while the stage ended anyway is done
        self.controls.take_switch()
        clock = training.clock
        yield events.Switched(
            clock.epoch, training.kind, clock.stage, clock.start, by, batch, n_batches
        )
        write_encoder(self.folder, training, self.lock)
        # judging the stage before took long, and a search of poses may come now
        yield self.checkpoint()

    def _epoch(self) -> Iterator[Event]:
        """Train one epoch; a stop leaves it unfinished, a switch by hand ends it early."""
        training, clock = self.training, self.training.clock
        self._epoch_began = time.monotonic()
        epoch, switched_at = Epoch(training), None
        self.helm.searching = clock.batch == 0
        if self.helm.searching:
            self._pace.mark()
        for step in epoch.steps():
            match step:
                case Searched(done, total):
                    yield events.Progress(training.inference.preparing, done, total)
                    yield from self._live()
                    yield from self._obey()
                    if self.controls.stopped:
                        return
                case Ready(n_batches, searched, n_images):
                    if searched:
                        self._pace.searched()
                    self.helm.searching, self.helm.n_batches = False, n_batches
                    self._n_images = n_images
                    self._pace.mark()
                case Due():
                    yield from self._obey()
                    if self.controls.stopped:
                        return
                    if not training.last_stage and self.helm.take_switch():
                        switched_at = clock.batch
                        epoch.cut_short()
                    elif self._checkpoint_due:
                        yield self.checkpoint()
                case Trained(n, loss):
                    self._pace.trained(n)
                    yield self._batch_done(loss)
                    yield from self._live()
                case Ending():
                    self._pace.mark()
                    yield events.Progress(_MEASURING, 0, 0)
        seconds = time.monotonic() - self._epoch_began
        yield from self._end_epoch(seconds, switching=switched_at is not None)
        self._pace.ended()
        if switched_at is not None:
            yield from self._switch("hand", switched_at)
        self.helm.n_batches = None

    def _batch_done(self, loss: float) -> Event:
        training, clock, n_batches = self.training, self.training.clock, self.helm.n_batches
        assert n_batches is not None
        rate, left = self._pace.images_per_second, self._seconds_left(n_batches)
        return events.BatchDone(
            clock.epoch, clock.batch, n_batches, training.kind, loss, rate, left
        )

    def _end_epoch(self, seconds: float, *, switching: bool) -> Iterator[Event]:
        training, clock = self.training, self.training.clock
        training.measure_fit()
        maps, poses = training.maps(), self.poses_event()
        comparison = beside_truth(self.truth, poses, maps)
        losses, halves = training.losses, live_comparison(training)
        done = events.EpochDone(
            epoch=clock.epoch,
            inference=training.kind,
            stage=clock.stage,
            start=clock.start,
            held_out_gain=training.inference.held_out_gain,
            switch=training.inference.switch_figures,
            loss=sum(losses) / len(losses) if losses else math.nan,
            head_share=training.poses.head_share(training.used),
            median_pose_error=comparison.median if comparison else None,
            mean_pose_error=comparison.mean if comparison else None,
            resolution=comparison.resolution if comparison else None,
            seconds=seconds,
            batches=clock.batch,
            n_batches=self.helm.n_batches,
            outliers=training.outliers,
            class_share=training.class_share,
            resolution_halves=halves.reached if halves else None,
        )
        self.lock.require_held()
        # first: who follows the run looks for all of an epoch once its figures are there
        if halves is not None:
            self.folder.write_fsc(halves.columns, self.pixel_size)
        self.folder.append_metrics(done)
        self.folder.write_epoch_maps(clock.epoch, maps, self.pixel_size)
        write_poses(self.folder, self.poses_event(recorded=True))
        yield self.volume_event()
        yield poses
        yield from [] if halves is None else [halves]
        yield done
        training.end_epoch()
        written = self.checkpoint()
        if training.kind.has_heads and self.settings.branch_points:
            self._keep_branch_point(switching)
        yield written

    def _keep_branch_point(self, switching: bool) -> None:
        """Keep the state after an epoch for branches."""
        if (state := self.training.compact_state(ending=switching)) is not None:
            state["fingerprint"] = self._fingerprint
        epoch = self.training.clock.epoch
        keep_branch_point(self.folder, state, epoch, self.settings.branch_points)

    def _live(self) -> Iterator[Event]:
        """Yield the map and the poses as often as they are worth looking at."""
        now = time.monotonic()
        if now - self._last["map"] > _MAP_INTERVAL:
            self._last["map"] = now
            yield self.volume_event()
        if now - self._last["poses"] > max(_POSES_INTERVAL, self._poses_took / _POSES_SHARE):
            poses, self._last["poses"] = self.poses_event(), now
            self._poses_took = time.monotonic() - now
            yield poses

    def _obey(self) -> Iterator[Event]:
        if self.controls.paused:
            yield events.Paused()
            paused_at = time.monotonic()
            self.controls.wait_while_paused()
            rested = time.monotonic() - paused_at
            self._pace.rest(rested)
            self._epoch_began += rested
            yield events.Resumed()
        yield from self.take_commands()

    def take_commands(self) -> Iterator[Event]:
        """Give the commands that are due again, and take those that were given since."""
        for told in self.helm.take_commands():
            yield told
            if isinstance(told, events.MembersChosen):
                yield self.poses_event()

    def _seconds_left(self, n_batches: int) -> float | None:
        """Return what is left of the present stage, at most."""
        training, clock = self.training, self.training.clock
        epochs = clock.stage_left(self.settings)
        images = (epochs - clock.batch / n_batches) * self._n_images
        searches = training.inference.searches_left
        return self._pace.seconds_left(max(round(images), 0), epochs, searches)

    def volume_event(self) -> Event:
        """Return the present map."""
        training = self.training
        epoch, maps = training.clock.epoch, training.maps()
        return events.VolumeUpdated.of(epoch, training.kind, maps, self.pixel_size)

    def poses_event(self, *, recorded: bool = False) -> PosesUpdated:
        """Return the present poses, with all candidates or with those that are recorded."""
        training = self.training
        return poses_event(
            training.poses,
            training.fit,
            training.used.cpu().numpy(),
            training.clock.epoch,
            training.kind,
            self.pixel_size,
            self.truth,
            recorded=recorded,
        )

    @property
    def _checkpoint_due(self) -> bool:
        interval = max(
            60 * self.settings.checkpoint_minutes, _CHECKPOINT_SHARE * self._checkpoint_took
        )
        return time.monotonic() - self._checkpoint_at > interval

    def checkpoint(self) -> Event:
        """Write a checkpoint.

        Raises
        ------
        InputError
            If another process has taken the run over.
        """
        self.lock.require_held()
        started = time.monotonic()
        epoch = self.training.clock.epoch
        state = self.training.state() | {"fingerprint": self._fingerprint}
        path = write_checkpoint(self.folder, state, epoch)
        self._checkpoint_at = time.monotonic()
        self._checkpoint_took = self._checkpoint_at - started
        return events.CheckpointWritten(path, epoch)
