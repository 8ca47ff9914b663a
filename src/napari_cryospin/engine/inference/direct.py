"""Direct inference (auto-decoding): the pose of each particle is optimised on SO(3)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import torch

from napari_cryospin.engine.inference.hypotheses import Hypotheses
from napari_cryospin.engine.inference.interface import (
    SEARCHING,
    PoseInference,
    shuffled_batches,
)
from napari_cryospin.engine.inference.low_pass import LowPass
from napari_cryospin.engine.inference.memory_needs import (
    BLOCKS,
    FLOAT,
    PER_COEFFICIENT,
    coefficients,
)
from napari_cryospin.engine.inference.searches import Searches, changed_share
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.backprojection import sphere
from napari_cryospin.engine.models.image import image_error
from napari_cryospin.engine.models.map_update import MapUpdate
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.sums import MapSums
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.refining.gauss_newton import improve, schedule
from napari_cryospin.engine.refining.per_image_adam import PerImageAdam
from napari_cryospin.engine.stages import Inference
from napari_cryospin.engine.sums.finding_members import find_members
from napari_cryospin.engine.sums.search import search_modes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.inference.interface import Place
    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import DirectStage
    from napari_cryospin.engine.state.problem import Problem

# a hypothesis so far behind the best one of its particle is given up, nats: sooner, and a map that
# mixes two of them would never be told so
_GIVEN_UP = 60.0
# modes have settled where fewer particles than this share change theirs in an epoch
_SETTLED = 0.005
# epochs that begin with a look for outliers, beside those that begin with a search
_LOOKED = (0, 3, 6)
_LOOKING = "Looking for outliers"
# epochs over which the rates then fall, where the stage ends by its criterion
_COOLING = 6


class DirectInference(PoseInference):
    """Refines the poses of batches of particles, in turn with the map.

    Every particle has K hypotheses. All of them are refined, and the best one is its pose: the
    multi-choice learning of the heads, carried into auto-decoding. Hypotheses that have fallen far
    behind are given up.

    Parameters
    ----------
    problem
        Particles, map and poses.
    stage
        Settings of the stage.
    noise
        Noise of the images as known so far, by which poses are searched; white by default.
    radius
        Frequency radius by which the candidates that it begins with were judged, in units of 1/box;
        by default all frequencies.
    """

    kind = Inference.DIRECT

    def __init__(
        self,
        problem: Problem,
        stage: DirectStage,
        noise: NoiseSpectrum | None = None,
        radius: float = math.inf,
    ) -> None:
        super().__init__(problem)
        self.stage, self.loss = stage, problem.model.loss
        self._low_pass = LowPass(self.particles, stage)
        self.volume_optimizer = torch.optim.Adam(
            self.volume.parameters(), lr=stage.learning_rate_volume
        )
        self._update: MapUpdate | None = None
        if stage.volume_update == "closed form":
            self._update = MapUpdate(
                self.particles.box, self.volume.amplitude, memory=1, device=problem.device
            )
        self._noise = noise or NoiseSpectrum.white(self.particles.box, problem.device)
        self._sums: MapSums | None = None
        self._slicer: Slicer | None = None
        self._weights: Slicer | None = None
        self._settled_at: int | None = None
        self._looked: int | None = None
        self._epochs = 0
        self._before = self.poses.rotations
        n, most, device = self.particles.n, stage.hypotheses, problem.device
        if not stage.searches:
            most = max(min(most, self.poses.candidate_losses.shape[1]), 1)
        self.hypotheses = Hypotheses(n, most, device)
        self.hypotheses.take(self.poses, torch.arange(n, device=device))
        self.pose_optimizer = PerImageAdam(n * most, 5, stage.learning_rate_pose, device)
        self._searches = Searches(problem, stage, radius)

    @classmethod
    def of_stage(
        cls, problem: Problem, stage: DirectStage, before: PoseInference | None, start: int
    ) -> Self:
        """Return the inference of a stage; it goes on from what was known before."""
        if before is None:
            return cls(problem, stage)
        return cls(problem, stage, before.noise, before.radius)

    @classmethod
    def memory_needed(
        cls, stage: DirectStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes of the pose steps of a batch, or of a search of all poses."""
        pairs = stage.batch_size * stage.hypotheses
        search = BLOCKS if stage.searches else 0
        return max(pairs * coefficients(box) * PER_COEFFICIENT * FLOAT, search)

    def begin(self) -> None:
        """Make room for the hypotheses among the candidates of the poses."""
        self._searches.begin()
        self.hypotheses.make_room(self.poses)

    @property
    def model(self) -> ImageModel:
        """Image model of the frequencies in use."""
        return self._low_pass.model

    @property
    def radius(self) -> float:
        """Frequency radius of the low-pass filter, in units of 1/box."""
        return self._low_pass.radius

    def observed(self, rows: Tensor) -> Observed:
        """Return particles as they are, not centred."""
        poses = self.poses
        return self.particles.observed(
            rows, self.model, scales=poses.scales[rows], membership=poses.membership[rows]
        )

    @property
    def over(self) -> bool:
        """Whether the modes have settled, and the rates have fallen since."""
        return self._settled_at is not None and self._epochs - self._settled_at >= _COOLING

    @property
    def noise(self) -> NoiseSpectrum:
        """Noise of the images, as known last."""
        return self._noise

    def set_place(self, place: Place) -> None:
        """Follow the schedules of learning rates and low-pass filter."""
        stage = self.stage
        by_epoch = place.stage_epoch / max(stage.epochs, 1)
        # the sums of a map in closed form are of one epoch, and so of one radius
        self._low_pass.follow(place.done if self._update is None else by_epoch)
        done = place.done
        if stage.until == "criterion":
            # the rates stay up while particles change between modes, and epochs are left
            begun = stage.epochs - _COOLING
            begun = begun if self._settled_at is None else min(begun, self._settled_at)
            done = max(0.0, (self._epochs - begun + 1) / _COOLING)
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        factor = stage.final_rate + (1 - stage.final_rate) * cosine
        self.pose_optimizer.learning_rate = factor * stage.learning_rate_pose
        for group in self.volume_optimizer.param_groups:
            group["lr"] = factor * stage.learning_rate_volume

    def searches_after(self, epoch: int) -> int:
        """Return how many epochs of the stage after this one begin with a search of poses."""
        return self._searches.after(epoch)

    def begin_epoch(self, place: Place, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Look for outliers, and search poses on the grid, where that is due."""
        epoch, membership = place.stage_epoch, None
        due = self._searches.due(epoch)
        if self.problem.model.outliers and epoch != self._looked and (due or epoch in _LOOKED):
            self.preparing = _LOOKING
            membership = yield from find_members(self.problem, rows, self._noise)
            self.preparing = SEARCHING
        if due:
            searched = self._searches.chosen(rows)
            yield from search_modes(self.problem, searched, self.stage.hypotheses, self._noise)
            self.hypotheses.take(self.poses, searched)
            self.hypotheses.make_room(self.poses)
            self._searches.made(epoch)
        if membership is not None:
            # with the search, or not at all: one that is stopped has changed nothing
            self.poses.membership[rows], self._looked = membership, epoch
        self._before = self.poses.rotations.clone()

    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch."""
        return shuffled_batches(rows, self.stage.batch_size, order)

    def train_batch(self, rows: Tensor) -> float:
        """Take the pose steps on particles ``rows``, and the map's share; return the mean error."""
        seen = self.observed(rows)
        deviation = self._noise.deviation(self.model)
        # pairs of a particle and one of its hypotheses
        image, hypothesis = self.hypotheses.active[rows].nonzero(as_tuple=True)
        chosen = rows[image], hypothesis
        aligned = Alignment(
            self.model,
            self._map(),
            seen.over(deviation),
            self.loss,
            image,
            self.problem.model.shifts,
        )
        self._take_steps(aligned, chosen)
        self._choose(aligned, rows, image, hypothesis)
        if self._update is None:
            losses = self._volume_step(rows, seen)
        else:
            losses = self._collect(rows, replace(aligned, numbers=None), seen)
        self.poses.losses[rows] = losses
        return losses.mean().item()

    def end_epoch(self, rows: Tensor) -> None:
        """Make the map anew, where that is done in closed form."""
        sums, self._sums, self._slicer, self._weights = self._sums, None, None, None
        everyone = int((~self.problem.held_out[rows]).sum())
        # an epoch that was ended early saw too few particles for a map
        if sums is not None and self._update is not None and sums.n == everyone:
            power = sums.mean_residual
            self._noise = NoiseSpectrum.of_residuals(power, self.model, self.particles.mask_power)
            self.volume.assign(self._update(sums.inserted, self._noise))
        self._epochs += 1
        members = rows[self.poses.members[rows]]
        members = members if len(members) else rows
        before, after = self._before[members], self.poses.rotations[members]
        changed = changed_share(before, after, self.problem.group)
        if self._settled_at is not None or self._searches.go_on(changed, self.radius):
            return
        if changed < _SETTLED:
            self._settled_at = self._epochs

    def _map(self) -> Slicer:
        """Return the map of the batch; in closed form it stays for an epoch."""
        if self._update is None:
            return slicer(self.volume.grid())
        self._slicer = self._slicer or slicer(self.volume.grid())
        return self._slicer

    def _take_steps(self, aligned: Alignment, chosen: tuple[Tensor, Tensor]) -> None:
        """Take the pose steps of a visit from the chosen hypotheses of the batch's particles."""
        row, hypothesis = chosen
        poses = self.hypotheses.at(chosen)
        if self.stage.pose_update == "adam":
            poses = self._adam_steps(aligned, poses, row * self.hypotheses.most + hypothesis)
        else:
            # what comes from a grid or from an encoder is degrees off
            far = self._epochs in (0, self._searches.at)
            poses = improve(aligned, poses, schedule(aligned, self.stage.pose_steps, far=far))
        self.hypotheses.set_at(chosen, poses)

    def _adam_steps(self, aligned: Alignment, poses: Poses, numbers: Tensor) -> Poses:
        optimizer, steps = self.pose_optimizer, self.stage.pose_steps
        rate = optimizer.learning_rate
        for step in range(steps):
            left = 1 - (1 - self.stage.visit_rate) * step / max(steps - 1, 1)
            optimizer.learning_rate = left * rate
            poses, _ = aligned.step(poses, optimizer, numbers)
        optimizer.learning_rate = rate
        return poses

    @torch.no_grad()
    def _choose(self, aligned: Alignment, rows: Tensor, image: Tensor, hypothesis: Tensor) -> None:
        """Give each particle its best hypothesis for a pose."""
        hypotheses = self.hypotheses
        losses = torch.full((len(rows), hypotheses.most), torch.inf, device=rows.device)
        if self.hypotheses.most == 1:
            losses[:] = 0
        else:
            chosen = rows[image], hypothesis
            losses[image, hypothesis] = aligned.errors(self.hypotheses.at(chosen))
            losses += self._optimism(aligned, rows)
        best = losses.argmin(1)
        self.poses.set_at(rows, hypotheses.at((rows, best)))
        if self.hypotheses.most == 1:
            return
        # squared errors are in units of the noise's variance, so this is a difference in nats
        behind = (losses - losses.amin(1, keepdim=True)) * (len(aligned.norms) / 2)
        hypotheses.active[rows] = behind < _GIVEN_UP
        self.poses.winner[rows] = best
        self.poses.candidates[rows] = hypotheses.rotations[rows]
        self.poses.candidate_shifts[rows] = hypotheses.origins[rows]
        self.poses.candidate_losses[rows] = losses.where(losses.isfinite(), torch.nan)

    def _optimism(self, aligned: Alignment, rows: Tensor) -> Tensor:
        """Return by how much the errors of hypotheses are expected to be too small, (b, K).

        A particle has drawn the map towards itself where it was inserted last. Without this an
        image that hardly tells two poses apart would stay at the one that it has (Efron's
        covariance penalty, 2004).
        """
        hypotheses = self.hypotheses
        found = torch.zeros(len(rows), hypotheses.most, device=rows.device)
        undecided = (hypotheses.active[rows].sum(1) > 1) & ~self.problem.held_out[rows]
        undecided &= self.poses.winner[rows] >= 0
        known = self._update is not None and self.loss == "squared"
        if not known or self._epochs in (0, self._searches.at) or not undecided.any():
            return found
        assert self._update is not None
        self._weights = self._weights or slicer(self._update.weights(self._noise))
        place = undecided.nonzero().flatten()
        winner = self.poses.winner[rows[place]]
        model = self.model
        weights = self._weights.slices(hypotheses.rotations[rows[place], winner], model.frequencies)
        share = aligned.images.ctf[place].square() / weights
        # what lies outside the sphere in the box is not read back
        back = sphere(model.box).mean() * self._noise.deviation(model).square()
        found[place, winner] = 2 * (share * back).mean(1)
        return found

    def _volume_step(self, rows: Tensor, seen: Observed) -> Tensor:
        projection = self.model.project(self.volume, self.poses.at(rows))
        losses = image_error(seen.ctf * projection, seen.coefficients, self.loss)
        learning = ~self.problem.held_out[rows]
        if learning.any():
            self.volume_optimizer.zero_grad()
            weights = seen.membership[learning]
            ((weights * losses[learning]).sum() / weights.sum().clamp(min=1e-6)).backward()
            self.volume_optimizer.step()
        return losses.detach()

    def _collect(self, rows: Tensor, aligned: Alignment, seen: Observed) -> Tensor:
        """Add the particles to the sums of the epoch's map; return their errors."""
        poses = self.poses.at(rows)
        self._sums = self._sums or MapSums(self.model, self.problem.group)
        held_out = self.problem.held_out[rows]
        variance = self._noise.deviation(self.model).square()
        errors = torch.empty(len(rows), device=rows.device)
        for learning, part in ((True, ~held_out), (False, held_out)):
            own = replace(aligned, images=aligned.images[part])
            errors[part], power = own.residuals(poses[part])
            if learning:
                self._sums.add_images(seen[part], poses[part])
                self._sums.count(power * variance, seen.membership[part])
        return errors

    def state(self) -> dict[str, Any]:
        """Return hypotheses and optimisers for a checkpoint."""
        return {
            "hypotheses": dict(vars(self.hypotheses)),
            "pose_optimizer": self.pose_optimizer.state(),
            "volume_optimizer": self.volume_optimizer.state_dict(),
            "map_update": None if self._update is None else self._update.state(),
            "noise": self._noise.variance,
            "statistics": None if self._sums is None else self._sums.state(),
            "before": self._before,
            "settled_at": self._settled_at,
            "epochs": self._epochs,
            "looked": self._looked,
            "searches": self._searches.state(),
        }

    def adopt(self, state: dict[str, Any]) -> None:
        """Search poses by the noise that was known."""
        if isinstance(noise := state.get("noise"), torch.Tensor):
            self._noise = NoiseSpectrum(noise)

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        vars(self.hypotheses).update(state["hypotheses"])
        self.pose_optimizer.load_state(state["pose_optimizer"])
        self.volume_optimizer.load_state_dict(state["volume_optimizer"])
        if self._update is not None:
            self._update.load_state(state["map_update"])
        self._noise = NoiseSpectrum(state["noise"])
        self._sums = None
        if state["statistics"] is not None:
            self._sums = MapSums(self.model, self.problem.group)
            self._sums.load_state(state["statistics"])
        self._before, self._settled_at = state["before"], state["settled_at"]
        self._epochs, self._looked = state["epochs"], state["looked"]
        self._searches.load_state(state["searches"])
