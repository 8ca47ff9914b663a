"""Marginal inference: posteriors over all poses of a grid, and the map that they make.

Stochastic expectation maximisation, after Brubaker, Punjani and Fleet, "Building Proteins in a Day"
(CVPR 2015): batches of particles, from low to high frequency.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.inference.interface import PoseInference, shuffled_batches
from napari_cryospin.engine.inference.marginal.exact import ExactSum
from napari_cryospin.engine.inference.marginal.importance import SampledSum
from napari_cryospin.engine.inference.marginal.march import Evidence, March
from napari_cryospin.engine.inference.marginal.memory import Memory
from napari_cryospin.engine.inference.marginal.posteriors import Observed
from napari_cryospin.engine.inference.marginal.proposals import SamplingOptions
from napari_cryospin.engine.inference.marginal.quadrature import Quadrature, march_radii
from napari_cryospin.engine.inference.marginal.search import record_modes
from napari_cryospin.engine.models.map_update import MapUpdate
from napari_cryospin.engine.models.noise import NoiseSpectrum, shells_of
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.inference.interface import Problem
    from napari_cryospin.engine.inference.marginal.posteriors import PoseSum, Posteriors
    from napari_cryospin.engine.stages import MarginalStage

# modes of each particle that are recorded as its candidates
N_MODES = 4
# maps between two looks at the held-out particles
_CHECK_EVERY = 4
# standard deviation of the prior of particles' scales around 1
_SCALE_SPREAD = 0.2
# more points of a sum than these are sampled rather than computed
_MOST_POINTS = 20_000
_NOISE_IMAGES = 2000


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

    Attributes
    ----------
    evidence
        What the held-out particles said last; None where there are none.
    points_share
        Share of the points of the sum that the last batch computed.
    """

    kind = Inference.MARGINAL

    def __init__(
        self, problem: Problem, stage: MarginalStage, before: MarginalInference | None = None
    ) -> None:
        super().__init__(problem)
        self.stage = stage
        stack, device = self.stack, problem.device
        limit = math.inf if stage.low_pass_end is None else self._radius_of(stage.low_pass_end)
        radii = march_radii(stack.box, stage.nside, limit)
        least = 0.0 if stage.low_pass_start is None else self._radius_of(stage.low_pass_start)
        if before is not None:
            least = max(least, before.march.radius + 1)
        self.march: March = March([radius for radius in radii if radius >= least] or radii[-1:])
        self._update = MapUpdate(
            stack.box,
            self.volume.amplitude,
            update=stage.map_update,
            prior=stage.prior,
            memory=stage.memory,
            device=device,
        )
        if before is not None:
            self.memory: Memory = before.memory
            self._noise = before.noise
            self._update.signal = before._update.signal
        else:
            self.memory = Memory(stack.n, device)
            learning = (~problem.held_out).nonzero().flatten()[:_NOISE_IMAGES]
            self._noise = NoiseSpectrum.of_images(stack.images[learning], stack.mask_power)
        self._sampling = SamplingOptions(
            stage.sample_factor, stage.uniform_share, stage.temperature
        )
        self._random = torch.Generator(device).manual_seed(problem.seed)
        self._maps = 0
        self.evidence: Evidence | None = None
        self.points_share = 1.0
        self._quadrature: Quadrature | None = None
        self.poses.with_candidates(N_MODES)

    @property
    def noise(self) -> NoiseSpectrum:
        """Noise of the images, as estimated last."""
        return self._noise

    @property
    def over(self) -> bool:
        """Whether the march has ended."""
        return self.march.over

    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch: the held-out particles are in none."""
        learning = rows[~self.problem.held_out[rows]]
        # two maps an epoch at least, or the present map would never be seen by new particles
        size = min(self.stage.batch_size, max(math.ceil(len(learning) / 2), 1))
        return shuffled_batches(learning, size, order)

    @torch.no_grad()
    def train_batch(self, rows: Tensor) -> float:
        """Make the map anew from the posteriors of particles ``rows``; return their mean error."""
        quadrature = self._points()
        total = self._sum(quadrature, rows)
        found = self._posteriors(total, rows, collect=True)
        self._record(rows, found, quadrature)
        statistics = total.statistics()
        power = statistics.residual / statistics.n
        estimated = NoiseSpectrum.of_residuals(power, quadrature.model, self.stack.mask_power)
        self._noise = self._noise.replaced(estimated, quadrature.model)
        self.volume.assign(self._update(statistics.inserted, self._noise))
        self._maps += 1
        if self._maps % _CHECK_EVERY == 0:
            self._check()
        return float(power[: quadrature.n_used].mean())

    @torch.no_grad()
    def end_epoch(self, rows: Tensor) -> None:
        """Find poses of the held-out particles as well; keep the scales around 1."""
        held = rows[self.problem.held_out[rows]]
        if len(held):
            quadrature = self._points()
            found = self._posteriors(self._sum(quadrature, held), held, collect=False)
            self._record(held, found, quadrature)
        learning = rows[~self.problem.held_out[rows]]
        if len(learning):
            self.poses.scales /= self.poses.scales[learning].mean()

    def _radius_of(self, resolution: float) -> float:
        return self.stack.box * self.stack.pixel_size / resolution

    def _points(self) -> Quadrature:
        """Return the points of the sum at the present radius."""
        if self._quadrature is None:
            nyquist = self.stack.box // 2 - 1
            self._quadrature = Quadrature.at(
                self.stack.box,
                self.march.radius,
                max(self.march.next_radius(nyquist), self.march.radius),
                shifts=self.problem.model.shifts,
                device=self.problem.device,
            )
        return self._quadrature

    def _sum(self, quadrature: Quadrature, rows: Tensor) -> PoseSum:
        grid = self.volume().detach()
        variance = self._noise.variance[shells_of(quadrature.model)]
        if self._sampled(quadrature, rows):
            return SampledSum(quadrature, grid, variance, self.memory, self._sampling, self._random)
        return ExactSum(quadrature, grid, variance)

    def _sampled(self, quadrature: Quadrature, rows: Tensor) -> bool:
        """Return whether points are to be sampled: every particle needs a previous posterior."""
        if self.stage.quadrature == "exact":
            return False
        many = quadrature.n_points > _MOST_POINTS
        if self.stage.quadrature == "auto" and not many:
            return False
        before = self.memory.nside[rows]
        return bool(((before == quadrature.nside) | (2 * before == quadrature.nside)).all())

    def _posteriors(
        self, total: PoseSum, rows: Tensor, *, collect: bool, n_used: int | None = None
    ) -> Posteriors:
        images = Observed.of(self.stack, rows, total.quadrature.model, self.poses.scales)
        return total.posteriors(images, spread=_SCALE_SPREAD, collect=collect, n_used=n_used)

    def _record(self, rows: Tensor, found: Posteriors, quadrature: Quadrature) -> None:
        record_modes(self.problem, rows, found, quadrature, 0.0, N_MODES)
        self.memory.remember(rows, found, quadrature)
        if self.problem.model.scales:
            self.poses.scales[rows] = found.scales
        self.points_share = float(found.points.float().mean()) / quadrature.n_points

    def _check(self) -> None:
        """Look at the held-out particles, and march on where they allow it."""
        held = self.problem.held_out.nonzero().flatten()
        self.evidence = None
        if len(held):
            quadrature = self._points()
            total = self._sum(quadrature, held)
            found = self._posteriors(total, held, collect=False)
            n_all = len(quadrature.model.frequencies)
            further = self._posteriors(total, held, collect=False, n_used=n_all)
            gain = found.log_evidence - self._null(held, quadrature)
            self.evidence = Evidence(gain, further.log_evidence - found.log_evidence)
            self.memory.remember(held, found, quadrature)
        if self.march.check(self.evidence):
            self._quadrature = None

    def _null(self, rows: Tensor, quadrature: Quadrature) -> Tensor:
        """Return the log-evidence of the map's rotational average, (h,)."""
        variance = self._noise.variance[shells_of(quadrature.model)]
        one = quadrature.with_rotations(quadrature.rotations[:1])
        total = ExactSum(one, self.volume.average(), variance)
        return self._posteriors(total, rows, collect=False).log_evidence

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs besides map and poses."""
        evidence = self.evidence
        return {
            "march": self.march.state(),
            "map_update": self._update.state(),
            "memory": self.memory.state(),
            "noise": self._noise.variance,
            "random": self._random.get_state(),
            "maps": self._maps,
            "evidence": None if evidence is None else [evidence.gain, evidence.beyond],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self.march.load_state(state["march"])
        self._update.load_state(state["map_update"])
        self.memory.load_state(state["memory"])
        self._noise = NoiseSpectrum(state["noise"])
        self._random.set_state(state["random"].cpu())
        self._maps = state["maps"]
        evidence = state["evidence"]
        self.evidence = None if evidence is None else Evidence(*evidence)
        self._quadrature = None
