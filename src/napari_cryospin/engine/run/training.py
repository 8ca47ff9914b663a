"""The state of a training run: map, poses, the present inference; and how it is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_cryospin.engine.inference.interface import Place
from napari_cryospin.engine.judging.particle_fit import ParticleFit
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.random_streams import stream
from napari_cryospin.engine.run.checkpoint_reading import fit_in, require_fits, require_like
from napari_cryospin.engine.run.encoder_file import Encoded
from napari_cryospin.engine.run.first_maps import random_maps, signal_amplitude
from napari_cryospin.engine.run.schedule import Schedule
from napari_cryospin.engine.run.standing import Standing
from napari_cryospin.engine.run.starts import Starts
from napari_cryospin.engine.run.trainable import chosen_held_out, require_trainable
from napari_cryospin.engine.runfolder.clock import Clock
from napari_cryospin.engine.runfolder.names import CHECKPOINT_VERSION
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.inference.interface import PoseInference
    from napari_cryospin.engine.judging.evidence import Judgement
    from napari_cryospin.engine.models.volume import HartleyVolume, Map
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import Inference

# fewer than these learn from all of them
_FEWEST_LEARNING = 50


class Training(Standing):
    """Everything that learns, and the clock.

    Parameters
    ----------
    particles
        The particles in use, on the training device.
    settings
        Settings of the run. The random start is drawn from their seed.

    Attributes
    ----------
    settings
        Settings of the run as they are now: the ends of its stages follow :attr:`schedule`.
    schedule
        When the stages end.
    used
        Particles that were chosen to be used, bool, (n,); all of them at first.
    in_epoch
        Particles that the present epoch is made of, bool, (n,); a choice comes in with the next.
    held_out
        Particles that no map learns from, bool, (n,).
    inference
        The inference of the present stage.
    losses
        Mean errors of the batches of the present epoch.
    starts
        What the starts of the first stage have come to.
    fit
        How well the map fitted the particles when that was last measured.
    encoded
        The encoder with which auto-encoding ended; None before, and after a resume.

    Raises
    ------
    InputError
        If the stages cannot be run on the stack.
    """

    def __init__(self, particles: Particles, settings: Settings) -> None:
        require_trainable(settings, particles.box, particles.pixel_size)
        # the schedule may be changed, and the run's own settings are what it began with
        self.particles, self.settings = particles, settings.model_copy(deep=True)
        settings, self.schedule = self.settings, Schedule(self.settings)
        self.clock = Clock()
        device = particles.device
        self.used = self.in_epoch = torch.ones(particles.n, dtype=torch.bool, device=device)
        self._kept_apart = chosen_held_out(particles.n, settings).to(device)
        self.held_out = self._kept_apart.clone()
        self._amplitude = signal_amplitude(particles, (~self.held_out).nonzero().flatten())
        classes = settings.model.classes
        first, *others = self._random_maps(0)
        self.volume: Map = first
        self.poses = PoseTable.empty(particles.n, settings.model.heads, device, classes)
        self.problem = Problem(
            particles,
            self.volume,
            self.poses,
            self.held_out,
            settings.model,
            settings.seed,
            tuple(others),
        )
        self.fit = ParticleFit.unknown(particles.n, device)
        self.starts = Starts()
        self.encoded: Encoded | None = None
        self.losses: list[float] = []
        self._begun: int | None = None
        self._judged: list[Judgement | None] = []
        self.inference = self._stage_begun(None)

    @property
    def kind(self) -> Inference:
        """The kind of the present inference."""
        return self.inference.kind

    def _random_maps(self, start: int) -> list[HartleyVolume]:
        return random_maps(self.particles, self.settings, self._amplitude, start)

    def _stage_begun(self, before: PoseInference | None) -> PoseInference:
        """Begin the stage that the clock shows, after an inference of the stage before."""
        inference = self._inference_of_stage(before)
        inference.begin()
        return inference

    def _inference_of_stage(self, before: PoseInference | None) -> PoseInference:
        stage, start = self.settings.stages[self.clock.stage], self.clock.start
        return stage.inference.implementation().of_stage(self.problem, stage, before, start)

    @property
    def stage_due(self) -> bool:
        """Whether the present stage is at its end, by its epochs or by its own criterion."""
        stage, clock = self.settings.stages[self.clock.stage], self.clock
        if clock.batch > 0:
            return False
        if stage.until == "criterion" and clock.stage_epoch > 0 and self.inference.over:
            return True
        return clock.stage_left(self.settings) == 0

    @property
    def over(self) -> bool:
        """Whether the run is at its end."""
        stage = self.settings.stages[self.clock.stage]
        return self.stage_due and (self.last_stage or stage.until == "hand")

    @property
    def in_midst(self) -> bool:
        """Whether the present epoch has begun: its particles are chosen."""
        return self._begun == self.clock.epoch

    @property
    def last_stage(self) -> bool:
        """Whether nothing comes after the present stage."""
        return self.clock.last_stage(self.settings)

    def next_stage(self) -> None:
        """End the present stage: begin its next start, or the next stage from the best one."""
        for _ in self.next_stage_in_steps():
            pass

    def next_stage_in_steps(self) -> Iterator[tuple[int, int]]:
        """Do the same as :meth:`next_stage`, as it is asked for steps.

        Yields how many particles have been left as the next stage finds them, and their total.
        """
        clock, settings = self.clock, self.settings
        if clock.stage == 0 and settings.n_starts > 1 and not self.starts.chosen:
            self._end_start()
            if clock.start + 1 < settings.n_starts:
                clock.start += 1
                clock.stage_epoch = clock.batch = 0
                self._load_maps([each.state_dict() for each in self._random_maps(clock.start)])
                self.poses.reset()
                self.fit = ParticleFit.unknown(self.particles.n, self.particles.device)
                self.inference = self._stage_begun(None)
                return
            self._take_best_start()
        yield from self._end_stage()
        clock.stage, clock.stage_epoch, clock.batch = clock.stage + 1, 0, 0
        self.inference = self._stage_begun(self.inference)

    def finish(self) -> Iterator[tuple[int, int]]:
        """End the last stage, from the best start; yields as :meth:`next_stage_in_steps`."""
        if self.start_unjudged:
            self._end_start()
            self._take_best_start()
        yield from self._end_stage()
        self.measure_fit()

    def _end_stage(self) -> Iterator[tuple[int, int]]:
        yield from self.inference.end_stage(self.used.nonzero().flatten())
        self.encoded = Encoded.of(self.inference, self.clock.epoch) or self.encoded

    @property
    def start_unjudged(self) -> bool:
        """Whether the end of the present start is still to come, and compares it with others."""
        return self.clock.stage == 0 and self.settings.n_starts > 1 and not self.starts.chosen

    def judge_start(self) -> None:
        """Judge the present start before it ends, where there are several; no state is changed."""
        if self.start_unjudged:
            self._judged = [self.judge()]

    def _end_start(self) -> None:
        judged = self._judged or [self.judge()]
        self._judged = []
        self.starts.add(self.problem.maps, self.poses, self.inference, judged[0])

    def _take_best_start(self) -> None:
        best = self.starts.best
        self._load_maps(best.maps)
        self.poses.go_back_to(best.poses)
        self.inference.load_state(best.inference)
        self.starts.choose()

    def _load_maps(self, states: list[dict[str, Tensor]]) -> None:
        for own, state in zip(self.problem.maps, states, strict=True):
            own.load_state_dict(state)

    def measure_fit(self) -> None:
        """Measure how well the present map fits every particle at its present pose."""
        inference = self.inference
        self.fit = ParticleFit.measured(self.problem, inference.radius, inference.noise)

    def place(self, n_batches: int = 1) -> Place:
        """Return where the inference stands in an epoch of so many batches."""
        clock = self.clock
        epochs = max(self.settings.stages[clock.stage].epochs, 1)
        done = (clock.stage_epoch + clock.batch / max(n_batches, 1)) / epochs
        return Place(clock.stage_epoch, done)

    def choose(self, used: NDArray[np.bool_]) -> bool:
        """Use other particles from the next epoch on; return whether that changes anything.

        Parameters
        ----------
        used
            True where the particle is used, (n,), or a single True for all.
        """
        chosen = torch.from_numpy(np.broadcast_to(used, self.particles.n).copy()).to(
            self.used.device
        )
        changed = not torch.equal(chosen, self.used)
        self.used = chosen
        return changed

    def begin_epoch(self) -> None:
        """Let the chosen particles in; an epoch that is gone on with keeps those it began with."""
        if not self.in_midst:
            self._begun, self.losses = self.clock.epoch, []
            self.in_epoch = self.used
            # where few are left, none can be spared
            few = int((self.used & ~self._kept_apart).sum()) < _FEWEST_LEARNING
            self.held_out.copy_(self._kept_apart & (not few))

    def end_epoch(self) -> None:
        """Count an epoch as done."""
        clock = self.clock
        clock.epoch, clock.stage_epoch, clock.batch = clock.epoch + 1, clock.stage_epoch + 1, 0

    @property
    def rows_in_epoch(self) -> Tensor:
        """Rows of the particles that the present epoch is made of, (≤ n,), ascending."""
        return self.in_epoch.nonzero().flatten()

    def batches(self) -> list[Tensor]:
        """Return the rows of all batches of the present epoch.

        They are shuffled by seed and epoch alone. Particles that are dropped or taken back in the
        course of an epoch are so from the next one on: a resumed epoch finds the same batches.
        """
        order = stream(self.settings.seed, "order", self.clock.epoch)
        return self.inference.batches(self.rows_in_epoch, order)

    def map(self) -> NDArray[np.float32]:
        """Return a copy of the first class's map, (z, y, x), as of :meth:`maps`."""
        return self.maps()[0]

    def maps(self) -> list[NDArray[np.float32]]:
        """Return a copy of each class's map, (z, y, x), in the unit of the normalised images."""
        return [map_of_grid(grid).cpu().numpy().copy() for grid in self.problem.grids]

    def state(self) -> dict[str, Any]:
        """Return all that a run needs to go on along the same trajectory."""
        return {
            "version": CHECKPOINT_VERSION,
            "clock": vars(self.clock),
            "maps": [each.state_dict() for each in self.problem.maps],
            "poses": self.poses.state(),
            "used": self.used,
            "in_epoch": self.in_epoch,
            "begun": self._begun,
            "losses": self.losses,
            "held_out": self.held_out,
            "kept_apart": self._kept_apart,
            "inference": self.inference.state(),
            "starts": self.starts.state(),
            "fit": vars(self.fit),
            "schedule": self.schedule.state(),
        }

    def compact_state(self, *, ending: bool) -> dict[str, Any] | None:
        """Return what a branch point needs of :meth:`state` after an epoch; None where it is all.

        Candidates are left out where the next epoch, or the end of the stage, makes them anew; not
        where a start ends, by schedule or by hand (``ending``), and is kept for comparison.
        """
        inference = self.inference.compact_state()
        kept = self.start_unjudged and (ending or self.stage_due)
        renewed = self.inference.renews_candidates and not kept
        if inference is None and not renewed:
            return None
        state = self.state()
        if inference is not None:
            state["inference"] = inference
        if renewed:
            state["poses"] = self.poses.compact_state()
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`.

        Raises
        ------
        Unreadable
            If it is not the state of a run with these particles and settings.
        """
        require_fits(state, self.settings, self.particles.n, self.particles.box)
        self.clock = Clock(**state["clock"])
        self.schedule.load_state(state.get("schedule", {}))
        self.held_out.copy_(state["held_out"])
        # an earlier version chose others from the same seed: a run keeps to those it began with
        self._kept_apart = state.get("kept_apart", state["held_out"]).clone()
        self.poses.load(state["poses"])
        self._load_maps(state["maps"])
        self.used, self.in_epoch = state["used"], state["in_epoch"]
        # an earlier version counted an epoch as begun with its first batch
        self._begun = state.get("begun", self.clock.epoch if self.clock.batch else None)
        self.losses = list(state.get("losses", ()))
        if state.get("begins_anew", False):
            # a branch with settings of the stage that its state does not fit
            self.inference = self._stage_begun(None)
            self.inference.adopt(state["inference"])
        else:
            self.inference = self._inference_of_stage(None)
            found = self.inference.completed(state["inference"])
            require_like(self.inference.state(), found)
            self.inference.load_state(found)
        self.starts.load_state(state["starts"])
        self.fit = fit_in(state, self.particles.n)
