"""Judging a map by the particles that it has not learned from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.kernels import slicer_of
from napari_cryospin.engine.models.noise import NoiseSpectrum, shells_of
from napari_cryospin.engine.models.sums import mean_residual
from napari_cryospin.engine.state.problem import evenly_spread
from napari_cryospin.engine.sums.centring import evidence_of_averages, spread_of
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.finer import FinePosteriors, finer
from napari_cryospin.engine.sums.modes import N_MODES, ModePoses
from napari_cryospin.engine.sums.quadrature import Quadrature

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.state.problem import Problem
    from napari_cryospin.engine.sums.posteriors import Posteriors

# frequency radius of the comparison: poses on a coarse grid, which is fast with shifts too
_RADIUS = 8
# particles that the noise is estimated from, anew so many times
_NOISE_PARTICLES, _NOISE_ROUNDS = 200, 2


@dataclass(frozen=True)
class Judgement:
    """What h held-out particles say of a map.

    Parameters
    ----------
    rows
        The particles, (h,).
    gain
        Log-likelihood of the map less that of its rotational average, nats, (h,).
    information
        What each particle's posterior tells of its pose: its divergence from the uniform one, nats.
    modes
        Poses of its best modes, the heaviest first, (h, N_MODES, 3, 3).
    mode_weights
        Their shares of the probability, (h, N_MODES).
    """

    rows: Tensor
    gain: Tensor
    information: Tensor
    modes: Tensor
    mode_weights: Tensor

    @property
    def mean_gain(self) -> float:
        """Mean gain, nats per particle."""
        return float(self.gain.mean())

    @property
    def gain_error(self) -> float:
        """Standard error of the mean gain, nats per particle."""
        return float(self.gain.std()) / math.sqrt(len(self.gain))


@dataclass(frozen=True)
class Exact:
    """The posteriors of particles over all poses, with what they were found with.

    Parameters
    ----------
    model
        Image model of their frequencies.
    slicer
        The map.
    images
        The particles, in units of the noise.
    nside
        Level of the cells.
    posteriors
        Their posteriors on these.
    shifted
        Whether shifts are summed over.
    """

    model: ImageModel
    slicer: Slicer
    images: Observed
    nside: int
    posteriors: Posteriors
    shifted: bool

    def first(self, n: int) -> Exact:
        """Return the posteriors of the first n particles."""
        part = slice(n)
        return replace(self, images=self.images[part], posteriors=self.posteriors[part])

    @property
    def finer(self) -> FinePosteriors:
        """The posteriors on finer cells around their modes."""
        found = self.posteriors
        return finer(
            found.cells,
            found.weights,
            found.cell_shifts,
            self.nside,
            self.model,
            self.slicer,
            self.images,
            shifted=self.shifted,
        )


def judge(problem: Problem, learning: Tensor, held: Tensor) -> Judgement | None:
    """Judge the present map by held-out particles.

    Parameters
    ----------
    problem, learning, held
        As for :func:`judge_with_posteriors`.

    Returns
    -------
    Judgement or None
        None with fewer than two particles held out, or fewer than two others.
    """
    judged = judge_with_posteriors(problem, learning, held)
    return None if judged is None else judged[0]


@torch.no_grad()
def judge_with_posteriors(
    problem: Problem, learning: Tensor, held: Tensor, noise: NoiseSpectrum | None = None
) -> tuple[Judgement, Exact] | None:
    """Judge the present map by held-out particles, and return their posteriors as well.

    Parameters
    ----------
    problem
        Particles, map and poses.
    learning
        Rows of particles that the map has learned from; the noise is estimated from some of them.
    held
        Rows of held-out particles.
    noise
        The noise, where it is known already: most of the time goes into estimating it.

    Returns
    -------
    Judgement and Exact, or None
        None with fewer than two particles held out, or fewer than two others.
    """
    if min(len(held), len(learning)) < 2:
        return None
    particles, device = problem.particles, problem.device
    radius = min(_RADIUS, particles.box // 2 - 1)
    spread, group = spread_of(problem), problem.group
    points = Quadrature.at(particles.box, radius, radius, spread=spread, device=device, group=group)
    grids = problem.grids
    if noise is None:
        noise = _estimated_noise(problem, points, grids, learning)
    variance = noise.variance[shells_of(points.model)]
    images = problem.observed(held, points.model)
    posteriors = ExactSum(points, grids, variance).posteriors(images)
    null = evidence_of_averages(images, points, problem.maps, variance)
    modes = ModePoses.of(posteriors, points, N_MODES)
    judged = Judgement(
        held,
        posteriors.log_evidence - null,
        posteriors.information,
        modes.rotations,
        modes.weights,
    )
    seen = images.over(noise.deviation(points.model))
    shifted = points.estimates_shifts
    return judged, Exact(points.model, slicer_of(grids), seen, points.nside, posteriors, shifted)


def _estimated_noise(
    problem: Problem, points: Quadrature, grids: Tensor, learning: Tensor
) -> NoiseSpectrum:
    """Return the noise as some particles that the map has learned from tell it."""
    particles, shells = problem.particles, shells_of(points.model)
    some = evenly_spread(learning, _NOISE_PARTICLES)
    noise = particles.noise(some)
    for _ in range(_NOISE_ROUNDS):
        fitted = ExactSum(points, grids, noise.variance[shells])
        fitted.posteriors(problem.observed(some, points.model), collect=True)
        power = mean_residual(fitted.collected())
        noise = NoiseSpectrum.of_residuals(power, points.model, particles.mask_power)
    return noise
