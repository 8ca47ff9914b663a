"""Marginal inference: posteriors over all poses of a grid, and the map that they make.

Stochastic expectation maximisation, after Brubaker, Punjani and Fleet, "Building Proteins in a Day"
(CVPR 2015): batches of particles, from low to high frequency.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import torch

from napari_cryospin.engine.geometry.cells import n_cells
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.interface import PoseInference, shuffled_batches
from napari_cryospin.engine.inference.march import Evidence, March
from napari_cryospin.engine.inference.memory_needs import BLOCKS, FLOAT, coefficients, sums_bytes
from napari_cryospin.engine.models.map_updates import MapUpdates
from napari_cryospin.engine.models.noise import NoiseSpectrum, shells_of
from napari_cryospin.engine.models.sums import mean_residual
from napari_cryospin.engine.random_streams import stream
from napari_cryospin.engine.stages import Inference
from napari_cryospin.engine.sums.centring import evidence_of_averages, first_origins, spread_of
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.membership import Members, Outliers
from napari_cryospin.engine.sums.modes import N_MODES, ModePoses
from napari_cryospin.engine.sums.previous import Memory
from napari_cryospin.engine.sums.proposals import SamplingOptions
from napari_cryospin.engine.sums.quadrature import KEPT, Quadrature, march_radii, split_cells
from napari_cryospin.engine.sums.sampled import SampledSum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.inference.interface import Place
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import MarginalStage
    from napari_cryospin.engine.state.problem import Problem
    from napari_cryospin.engine.sums.posteriors import PoseSum, Posteriors

# maps between two looks at the held-out particles
_CHECK_EVERY = 4
# more poses of a sum than these are sampled rather than computed
_MOST_POSES = 20_000
# share of the poses up to which sampling is faster than computing all of them
_LARGEST_SHARE = 0.02
# frequency radius of the first look at a particle
_FIRST_LOOK = 4
_NOISE_IMAGES = 2000
# share of the images' power in a shell that the march takes for noise at least: posteriors that are
# sharp before there is a structure would keep the first one that comes
_LEAST_NOISE = 0.05
# an angle that is another pose, degrees
_OTHER_POSE = 30.0
# numbers kept of each coefficient of a pose: slices, their squares and two sums of a sum over all
# poses; so many were measured where some sums are over samples of them
_EXACT, _SAMPLED = 4, 2.5
# numbers kept of each coefficient of an image of a batch
_OF_IMAGE = 12


class MarginalInference(PoseInference):
    """Estimates the map from posteriors of batches of particles.

    Parameters
    ----------
    problem
        Particles, map and poses.
    stage
        Settings of the stage.
    before
        The marginal inference of the stage before, to go on from where it ended; None begins at
        the lowest frequencies.
    start
        Number of the start: each one draws samples of its own.

    Attributes
    ----------
    evidence
        What the held-out particles said last; None where there are none.
    """

    kind = Inference.MARGINAL
    remembers = 132

    def __init__(
        self,
        problem: Problem,
        stage: MarginalStage,
        before: MarginalInference | None = None,
        start: int = 0,
    ) -> None:
        super().__init__(problem)
        self.stage, self._start = stage, start
        particles, device = self.particles, problem.device
        limit = math.inf if stage.low_pass_end is None else self._radius_of(stage.low_pass_end)
        radii = march_radii(particles.box, stage.nside, limit)
        least = 0.0 if stage.low_pass_start is None else self._radius_of(stage.low_pass_start)
        if before is not None:
            least = max(least, before.march.radius + 1)
        self.march: March = March([radius for radius in radii if radius >= least] or radii[-1:])
        self._updates = MapUpdates(
            problem.maps,
            particles.box,
            device,
            update=stage.map_update,
            prior=stage.prior,
            memory=stage.memory,
        )
        if before is not None:
            self.memory: Memory = before.memory
            self._noise = before.noise
            self._floor = torch.zeros_like(self._noise.variance)
            self._updates.go_on_from(before._updates)
        else:
            self.memory = Memory(particles.n, device)
            learning = (~problem.held_out).nonzero().flatten()[:_NOISE_IMAGES]
            self._noise = particles.noise(learning)
            # nothing is known yet, and all is noise
            self._floor = _LEAST_NOISE * self._noise.variance
        self._sampling = SamplingOptions(
            stage.sample_factor, stage.uniform_share, stage.temperature
        )
        self._draws: int = 0 if before is None else before._draws
        self._maps = 0
        self._held = problem.held_out.nonzero().flatten()
        self.evidence: Evidence | None = None
        self._quadrature: Quadrature | None = None
        # members that have moved since the last check, and all that were seen again
        self._moved = torch.zeros(2, dtype=torch.float64)
        self._members: Members = Members() if before is None else before._members

    @classmethod
    def of_stage(
        cls, problem: Problem, stage: MarginalStage, before: PoseInference | None, start: int
    ) -> Self:
        """Return the inference of a stage; only what was marginal before can be gone on from."""
        earlier = before if isinstance(before, MarginalInference) else None
        return cls(problem, stage, earlier, start)

    @classmethod
    def memory_needed(
        cls, stage: MarginalStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes of the slices of a pose grid, and of a batch that is summed over it."""
        radius = min(2 * stage.nside, box / 2)
        slices = n_cells(stage.nside) * math.pi * radius**2
        kept = _EXACT * slices
        if stage.quadrature != "exact":
            # of each map alone it is asked whether its slices fit
            kept = _SAMPLED * min(slices, KEPT)
        batch = stage.batch_size * coefficients(box) * _OF_IMAGE
        numbers = model.classes * kept + batch
        return numbers * FLOAT + BLOCKS + sums_bytes(model, box, device)

    def begin(self) -> None:
        """Make room for the modes of the posteriors."""
        self.poses.with_candidates(N_MODES)

    @property
    def noise(self) -> NoiseSpectrum:
        """Noise of the images, as estimated last."""
        return self._noise

    @property
    def radius(self) -> float:
        """Frequency radius of the march, in units of 1/box."""
        return self.march.radius

    @property
    def over(self) -> bool:
        """Whether the march has ended."""
        return self.march.over

    @property
    def held_out_gain(self) -> float | None:
        """Mean gain of the held-out particles when they were looked at last, nats."""
        return None if self.evidence is None else float(self.evidence.gain.mean())

    def begin_epoch(self, place: Place, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Centre particles that nothing is known of."""
        new = rows[self.memory.nside[rows] == 0]
        if self.problem.model.shifts and len(new):
            learning = rows[~self.problem.held_out[rows]]
            self.poses.shifts[new] = first_origins(self.particles, new, learning)
        yield from ()

    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch: the held-out particles are in none."""
        held_out = self.problem.held_out[rows]
        self._held, learning = rows[held_out], rows[~held_out]
        # two maps an epoch at least, or the present map would never be seen by new particles
        return shuffled_batches(learning, self.stage.batch_size, order, at_least=2)

    @torch.no_grad()
    def train_batch(self, rows: Tensor) -> float:
        """Make the map anew from the posteriors of particles ``rows``; return their mean error."""
        quadrature = self._points()
        total = self._sum(quadrature, rows)
        images = self._observed(rows, quadrature)
        found = total.posteriors(images, collect=True)
        self._note_moves(rows, found, quadrature)
        if self.problem.model.outliers:
            self._members.learn(found.scores, found.scales)
        self._record(images, found, quadrature)
        sums = total.collected()
        power = mean_residual(sums)
        estimated = NoiseSpectrum.of_residuals(power, quadrature.model, self.particles.mask_power)
        self._noise = self._noise.replaced(estimated, quadrature.model)
        self._updates([each.inserted for each in sums], self._noise)
        self._maps += 1
        if self._maps % _CHECK_EVERY == 0:
            self._check()
        return float(power[: quadrature.n_used].mean())

    @torch.no_grad()
    def end_epoch(self, rows: Tensor) -> None:
        """Find poses of the held-out particles as well; keep the scales around 1."""
        held = self._held
        if len(held):
            quadrature = self._points()
            images = self._observed(held, quadrature)
            found = self._sum(quadrature, held).posteriors(images)
            self._record(images, found, quadrature)
        learning = rows[~self.problem.held_out[rows]]
        if len(learning):
            members = self.poses.membership[learning]
            mean = (members * self.poses.scales[learning]).sum() / members.sum().clamp(min=1)
            self.poses.scales /= mean

    def _radius_of(self, resolution: float) -> float:
        return self.particles.box * self.particles.pixel_size / resolution

    def _points(self) -> Quadrature:
        """Return the points of the sum at the present radius."""
        if self._quadrature is None:
            nyquist = self.particles.box // 2 - 1
            beyond = max(self.march.next_radius(nyquist), self.march.radius)
            self._quadrature = self._quadrature_at(self.march.radius, beyond)
        # the prior follows the shifts
        return replace(self._quadrature, spread=spread_of(self.problem))

    def _quadrature_at(self, radius: float, beyond: float) -> Quadrature:
        return Quadrature.at(
            self.particles.box,
            radius,
            beyond,
            spread=spread_of(self.problem),
            device=self.problem.device,
            group=self.problem.group,
        )

    def _sum(self, quadrature: Quadrature, rows: Tensor) -> PoseSum:
        """Return the sum for particles ``rows``: over all points, or over samples of them."""
        wanted = self.stage.quadrature
        few = len(quadrature.unit_rotations) <= _MOST_POSES
        if wanted == "exact" or (wanted == "auto" and few):
            return self._exact(quadrature)
        known = self.memory.nside[rows]
        unknown = rows[(known == 0) | (known > quadrature.nside)]
        if len(unknown):
            # a first look, at the lowest frequencies, says where samples are wanted
            coarse = self._quadrature_at(min(_FIRST_LOOK, self.march.radius), _FIRST_LOOK)
            found = self._exact(coarse).posteriors(self._observed(unknown, coarse))
            self.memory.remember(unknown, found, coarse)
        problem = self.problem
        draw = stream(problem.seed, "samples", self._start, self._draws, device=problem.device)
        self._draws += 1
        grids, variance = self.problem.grids, self._variance(quadrature)
        outliers = self._outliers(quadrature, grids, variance)
        sampled = SampledSum(
            quadrature, grids, variance, self.memory, self._sampling, draw, outliers
        )
        # a point of the exact sum is so much cheaper that many samples do not pay
        if wanted == "auto" and quadrature.keeps_slices and sampled.share(rows) > _LARGEST_SHARE:
            return self._exact(quadrature)
        return sampled

    def _exact(self, quadrature: Quadrature) -> ExactSum:
        grids, variance = self.problem.grids, self._variance(quadrature)
        return ExactSum(quadrature, grids, variance, self._outliers(quadrature, grids, variance))

    def _outliers(self, quadrature: Quadrature, grids: Tensor, variance: Tensor) -> Outliers | None:
        if not self.problem.model.outliers:
            return None
        mask_power = self.particles.mask_power
        return Outliers.of(self._members, quadrature, grids, variance, mask_power)

    def _variance(self, quadrature: Quadrature) -> Tensor:
        """Return the variance of the noise by which poses are weighed, (K,)."""
        variance = torch.maximum(self._noise.variance, self._floor)
        return variance[shells_of(quadrature.model)]

    def _observed(self, rows: Tensor, quadrature: Quadrature) -> Observed:
        return self.problem.observed(rows, quadrature.model)

    def _record(self, images: Observed, found: Posteriors, quadrature: Quadrature) -> None:
        rows = images.rows
        ModePoses.of(found, quadrature, N_MODES).moved(images.origins).record(self.poses, rows)
        self._remember(rows, found, quadrature)

    def _remember(self, rows: Tensor, found: Posteriors, quadrature: Quadrature) -> None:
        self.memory.remember(rows, found, quadrature)
        self.poses.set_membership(rows, found.membership)
        self.poses.class_weights[rows] = found.classes
        if self.problem.model.scales:
            self.poses.scales[rows] = found.scales

    def _note_moves(self, rows: Tensor, found: Posteriors, quadrature: Quadrature) -> None:
        """Count who has come to another pose than before."""
        known = self.memory.nside[rows] == quadrature.nside
        if not known.any():
            return
        maps, cells = split_cells(found.cells[known, 0], quadrature.nside)
        now, before = quadrature.rotations[cells], self.memory.heaviest(rows[known])
        moved = angular_distance(before, now, self.problem.group) > _OTHER_POSE
        moved |= maps != self.memory.classes(rows[known])
        weights = found.membership[known]
        self._moved += torch.stack(((weights * moved).sum(), weights.sum())).double().cpu()

    def _check(self) -> None:
        """Look at the held-out particles, and march on where they allow it."""
        held = self._held
        self.evidence = None
        if len(held):
            quadrature = self._points()
            images = self._observed(held, quadrature)
            found = self._sum(quadrature, held).posteriors(images, look_beyond=True)
            gain = found.log_evidence - self._null(images, quadrature)
            self.evidence = Evidence(found.membership * gain, found.membership * found.beyond)
            self.memory.remember(held, found, quadrature)
        moved, seen = self._moved.tolist()
        self._moved.zero_()
        if self.march.check(self.evidence, moved / max(seen, 1.0)):
            self._quadrature = None
        elif self._refused and self._updates.memory * self.stage.batch_size < self.particles.n:
            # maps of more particles may yet support what these do not
            self._updates.remember_longer(2)
            self.march.go_on()

    @property
    def _refused(self) -> bool:
        """Whether the march is over before its last radius."""
        return self.march.over and self.march.place + 1 < len(self.march.radii)

    @torch.no_grad()
    def scores(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-evidence, what the map gains over its average, nats, and scores, (m,) each."""
        quadrature = self._points()
        images = self._observed(rows, quadrature)
        found = self._sum(quadrature, rows).posteriors(images)
        gain = found.log_evidence - self._null(images, quadrature)
        return found.log_evidence, gain, found.scores

    def _null(self, images: Observed, quadrature: Quadrature) -> Tensor:
        """Return the log-evidence of the maps' rotational averages, (h,)."""
        maps, variance = self.problem.maps, self._variance(quadrature)
        return evidence_of_averages(images, quadrature, maps, variance)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs besides map and poses."""
        evidence = self.evidence
        return {
            "march": self.march.state(),
            "map_updates": self._updates.state(),
            "memory": self.memory.state(),
            "noise": self._noise.variance,
            "floor": self._floor,
            "draws": self._draws,
            "members": self._members.state(),
            "maps": self._maps,
            "moved": self._moved,
            "evidence": None if evidence is None else [evidence.gain, evidence.beyond],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self.march.load_state(state["march"])
        self._updates.load_state(state["map_updates"])
        self.memory.load_state(state["memory"])
        self._noise, self._floor = NoiseSpectrum(state["noise"]), state["floor"]
        self._draws = state["draws"]
        self._members.load_state(state["members"])
        self._maps, self._moved = state["maps"], state["moved"].cpu().clone()
        evidence = state["evidence"]
        self.evidence = None if evidence is None else Evidence(*evidence)
        self._quadrature = None
