"""Direct inference (auto-decoding): the pose of each particle is optimised on SO(3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.inference.class_sums import ClassSums
from napari_cryospin.engine.inference.hypotheses import Hypotheses
from napari_cryospin.engine.inference.interface import (
    SEARCHING,
    PoseInference,
    shuffled_batches,
)
from napari_cryospin.engine.inference.low_pass import LowPass
from napari_cryospin.engine.inference.map_errors import errors_of_maps
from napari_cryospin.engine.inference.memory_needs import decoding_bytes
from napari_cryospin.engine.inference.optimism import optimism
from napari_cryospin.engine.inference.searches import Searches, changed_share
from napari_cryospin.engine.kernels import slicer_of
from napari_cryospin.engine.models.map_updates import MapUpdates
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.sums import mean_residual
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
        Noise of the images as known so far; white by default.
    radius
        Frequency radius by which the candidates that it begins with were judged, in units of 1/box;
        by default all frequencies.
    limit
        Frequency radius of the stage's first search at most, in units of 1/box. Where there is one,
        all particles are searched, and their poses of before do not count.
    """

    kind = Inference.DIRECT

    def __init__(
        self,
        problem: Problem,
        stage: DirectStage,
        noise: NoiseSpectrum | None = None,
        radius: float = math.inf,
        limit: float = math.inf,
    ) -> None:
        super().__init__(problem)
        self.stage, self.loss = stage, problem.model.loss
        self._low_pass = LowPass(self.particles, stage)
        self.volume_optimizer = torch.optim.Adam(
            [each for own in problem.maps for each in own.parameters()],
            lr=stage.learning_rate_volume,
        )
        self._updates: MapUpdates | None = None
        if stage.volume_update == "closed form":
            self._updates = MapUpdates(problem.maps, self.particles.box, problem.device, memory=1)
        self._noise = noise or NoiseSpectrum.white(self.particles.box, problem.device)
        self._sums: ClassSums | None = None
        self._slicer: Slicer | None = None
        self._weights: Slicer | None = None
        self._settled_at: int | None = None
        self._looked: int | None = None
        self._epochs = 0
        self._before = self.poses.copied()
        n, device, n_maps = self.particles.n, problem.device, len(problem.maps)
        # one for each further map: the same pose may be of any
        most = stage.hypotheses + n_maps - 1
        if not stage.searches:
            most = max(min(most, self.poses.candidate_losses.shape[1]), 1)
        self.hypotheses = Hypotheses(n, most, device, n_maps)
        self.hypotheses.take(self.poses, problem.rows)
        self.pose_optimizer = PerImageAdam(n * most, 5, stage.learning_rate_pose, device)
        self.searches = Searches(problem, stage, radius, limit)

    @classmethod
    def of_stage(
        cls, problem: Problem, stage: DirectStage, before: PoseInference | None, start: int
    ) -> PoseInference:
        """Return the inference of a stage; it goes on from what was known before."""
        if before is None:
            return cls(problem, stage)
        return cls(problem, stage, before.noise, before.radius)

    @classmethod
    def memory_needed(
        cls, stage: DirectStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes of a batch and of the maps' sums, or of a search of all poses."""
        return decoding_bytes(stage, model, box, device)

    def begin(self) -> None:
        """Make room for the hypotheses among the candidates of the poses."""
        self.searches.begin()
        self.hypotheses.make_room(self.poses, self.problem.part)

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
        self._low_pass.follow(place.done if self._updates is None else by_epoch)
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

    @property
    def searches_left(self) -> int:
        """How many later epochs of the stage are known to begin with a search of poses."""
        return self.searches.after(self._epochs)

    def begin_epoch(self, place: Place, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Look for outliers, and search poses on the grid, where that is due."""
        # its own epochs: where a branch begins a stage anew, those of the stage count on
        epoch, membership = self._epochs, None
        due = self.searches.due(epoch)
        if self.problem.model.outliers and epoch != self._looked and (due or epoch in _LOOKED):
            self.preparing = _LOOKING
            membership = yield from find_members(self.problem, rows, self._noise)
            self.preparing = SEARCHING
        searched = self.searches.chosen(rows) if due else self.searches.unknown(rows)
        # those that were to be searched may have been dropped since
        if len(searched):
            most, limit = self.hypotheses.most, self.searches.limit
            yield from search_modes(self.problem, searched, most, self._noise, limit)
            self.hypotheses.take(self.poses, searched)
            self.hypotheses.make_room(self.poses, self.problem.part)
            self.searches.found(searched)
        if due:
            self.searches.made(epoch)
        if membership is not None:
            # with the search, or not at all: one that is stopped has changed nothing
            self.poses.set_membership(rows, membership)
            self._looked = epoch
        self._before = self.poses.copied()

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
        compared, shifts = seen.over(deviation), self.problem.model.shifts
        aligned = Alignment(self.model, self._map(), compared, self.loss, image, shifts)
        self._take_steps(aligned, chosen)
        self._choose(aligned, rows, image, hypothesis)
        if self._updates is None:
            losses = self._volume_step(rows, seen)
        else:
            losses = self._collect(rows, aligned, seen)
        self.poses.losses[rows] = losses
        return losses.mean().item()

    def collected(self, rows: Tensor) -> Tensor | None:
        """Return the sums that an epoch with particles ``rows`` makes its maps of, (C, 2, (D+1)³).

        None where there is to be no such map: an epoch that was ended early saw too few for one,
        and there is none of particles that are all held out.
        """
        sums, everyone = self._sums, int((~self.problem.held_out[rows]).sum())
        return sums.inserted if sums is not None and sums.n == everyone > 0 else None

    def end_epoch(self, rows: Tensor) -> None:
        """Make the map anew, where that is done in closed form."""
        self.finish_epoch(rows, self.collected(rows))

    def finish_epoch(self, rows: Tensor, inserted: Tensor | None) -> None:
        """Make the maps anew of such sums, where there are any, and end the epoch."""
        sums, self._sums, self._slicer, self._weights = self._sums, None, None, None
        if inserted is not None and sums is not None and self._updates is not None:
            power = mean_residual(sums.of_class)
            self._noise = NoiseSpectrum.of_residuals(power, self.model, self.particles.mask_power)
            self._updates(inserted, self._noise)
        self._epochs += 1
        own = self.poses.members[rows]
        members = rows[own] if bool(own.any()) else rows
        before, after = self._before[members], self.poses.at(members)
        changed = changed_share(before, after, self.problem.group)
        if self._settled_at is not None or self.searches.go_on(changed, self.radius):
            return
        if changed < _SETTLED:
            self._settled_at = self._epochs

    def _map(self) -> Slicer:
        """Return the maps of the batch; in closed form they stay for an epoch."""
        kept = None if self._updates is None else self._slicer
        self._slicer = kept or slicer_of(self.problem.grids)
        return self._slicer

    def _take_steps(self, aligned: Alignment, chosen: tuple[Tensor, Tensor]) -> None:
        """Take the pose steps of a visit from the chosen hypotheses of the batch's particles."""
        row, hypothesis = chosen
        poses = self.hypotheses.at(chosen)
        if self.stage.pose_update == "adam":
            poses = self._adam_steps(aligned, poses, row * self.hypotheses.most + hypothesis)
        else:
            # what comes from a grid or from an encoder is degrees off
            far = self._epochs in (0, self.searches.at)
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
        if hypotheses.most == 1:
            losses[:] = 0
        else:
            losses[image, hypothesis] = aligned.errors(hypotheses.at((rows[image], hypothesis)))
            losses += self._optimism(aligned, rows)
        best = losses.argmin(1)
        self.poses.set_at(rows, hypotheses.at((rows, best)))
        if hypotheses.most == 1:
            return
        # squared errors are in units of the noise's variance, so this is a difference in nats
        behind = (losses - losses.amin(1, keepdim=True)) * (len(aligned.norms) / 2)
        hypotheses.active[rows] = behind < _GIVEN_UP
        self.poses.winner[rows] = best
        losses[losses.isinf()] = torch.nan
        self.poses.set_candidates(rows, hypotheses.of(rows), losses)
        self.poses.weigh_classes(rows, behind)

    def _optimism(self, aligned: Alignment, rows: Tensor) -> Tensor:
        """Return by how much the errors of hypotheses are expected to be too small, (b, K)."""
        hypotheses = self.hypotheses
        found = torch.zeros(len(rows), hypotheses.most, device=rows.device)
        undecided = (hypotheses.active[rows].sum(1) > 1) & ~self.problem.held_out[rows]
        undecided &= self.poses.winner[rows] >= 0
        known = self._updates is not None and self.loss == "squared"
        if not known or self._epochs in (0, self.searches.at) or not undecided.any():
            return found
        assert self._updates is not None
        self._weights = self._weights or slicer_of(self._updates.weights(self._noise))
        place = undecided.nonzero().flatten()
        winner = self.poses.winner[rows[place]]
        at, images = hypotheses.at((rows[place], winner)), aligned.images[place]
        found[place, winner] = optimism(self._weights, at, images, self.model, self._noise)
        return found

    def _volume_step(self, rows: Tensor, seen: Observed) -> Tensor:
        maps, poses = self.problem.maps, self.poses.at(rows)
        losses = errors_of_maps(self.model, maps, poses, seen, self.loss)
        learning = ~self.problem.held_out[rows]
        if learning.any():
            self.volume_optimizer.zero_grad()
            weights = seen.membership[learning]
            ((weights * losses[learning]).sum() / weights.sum().clamp(min=1e-6)).backward()
            self.volume_optimizer.step()
        return losses.detach()

    def _collect(self, rows: Tensor, aligned: Alignment, seen: Observed) -> Tensor:
        """Add the particles to the sums of the epoch's maps; return their errors."""
        self._sums = self._sums or ClassSums(self.model, self.problem)
        learning = ~self.problem.held_out[rows]
        variance = self._noise.deviation(self.model).square()
        poses = self.poses.at(rows)
        return self._sums.add(aligned, seen, poses, learning=learning, variance=variance)

    def state(self) -> dict[str, Any]:
        """Return hypotheses and optimisers for a checkpoint."""
        return {
            "hypotheses": dict(vars(self.hypotheses)),
            "pose_optimizer": self.pose_optimizer.state(),
            "volume_optimizer": self.volume_optimizer.state_dict(),
            "map_updates": None if self._updates is None else self._updates.state(),
            "noise": self._noise.variance,
            "statistics": None if self._sums is None else self._sums.state(),
            "radius": self.radius,
            "before": vars(self._before),
            "settled_at": self._settled_at,
            "epochs": self._epochs,
            "looked": self._looked,
            "searches": self.searches.state(),
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
        if self._updates is not None:
            self._updates.load_state(state["map_updates"])
        # sums are of one radius; earlier versions did not keep it
        self._low_pass.come_to(state.get("radius", self.radius))
        self._noise, self._sums = NoiseSpectrum(state["noise"]), None
        if state["statistics"] is not None:
            self._sums = ClassSums(self.model, self.problem)
            self._sums.load_state(state["statistics"])
        self._before, self._settled_at = Poses(**state["before"]), state["settled_at"]
        self._epochs, self._looked = state["epochs"], state["looked"]
        self.searches.load_state(state["searches"])
