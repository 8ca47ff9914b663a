"""Finding which particles belong to the present map, in between the epochs that change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.models.noise import NoiseSpectrum, shells_of
from napari_cryospin.engine.models.sums import mean_residual
from napari_cryospin.engine.state.problem import evenly_spread
from napari_cryospin.engine.sums.centring import spread_of
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.membership import Members, Outliers
from napari_cryospin.engine.sums.posteriors import Posteriors
from napari_cryospin.engine.sums.quadrature import Quadrature

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from napari_cryospin.engine.state.problem import Problem

# frequency radius, and particles at once
_RADIUS, _PART = 8, 1000
# particles that tell what the grid leaves of them, and rounds of that
_TELLING, _ROUNDS = 200, 2


@torch.no_grad()
def find_members(
    problem: Problem, rows: Tensor, noise: NoiseSpectrum
) -> Generator[tuple[int, int], None, Tensor]:
    """Find how probable it is that particles ``rows`` (m,) show the map's particle, (m,).

    Yields how many have been looked at, and their total. What is usual of particles is learned
    from those that the map learns from, so that nothing of the others reaches it.

    Parameters
    ----------
    problem
        Particles, map and poses.
    rows
        Which particles.
    noise
        Noise of the images.
    """
    particles = problem.particles
    box, device = particles.box, problem.device
    radius = min(_RADIUS, box // 2 - 1)
    spread, group = spread_of(problem), problem.group
    points = Quadrature.at(box, radius, radius, spread=spread, device=device, group=group)
    grid, shells = problem.grids, shells_of(points.model)
    variance = noise.variance[shells]
    learning = rows[~problem.held_out[rows] & problem.poses.members[rows]]
    for _ in range(_ROUNDS if len(learning) else 0):
        variance = torch.maximum(variance, _left(problem, points, grid, variance, learning)[shells])
    members = Members()
    outliers = Outliers.of(members, points, grid, variance, particles.mask_power)
    total = ExactSum(points, grid, variance, outliers)
    found: list[Posteriors] = []
    for part in rows.split(_PART):
        yield sum(len(each.scores) for each in found), len(rows)
        found.append(total.posteriors(problem.observed(part, points.model)))
    if not found:
        return torch.ones(0, device=device)
    told, known = Posteriors.join(found), ~problem.held_out[rows]
    members.learn(told.scores[known], told.scales[known])
    return members.of(told.scores, told.scales)


def _left(
    problem: Problem, points: Quadrature, grid: Tensor, variance: Tensor, learning: Tensor
) -> Tensor:
    """Return the variance of what the poses of a grid leave of particles, by shell, (D/2,).

    The less noise there is, the more it counts that none of the poses is quite a particle's own.
    """
    total = ExactSum(points, grid, variance)
    some = evenly_spread(learning, _TELLING)
    total.posteriors(problem.observed(some, points.model), collect=True)
    power = mean_residual(total.collected())
    return NoiseSpectrum.of_residuals(power, points.model, problem.particles.mask_power).variance
