"""Finding which particles belong to the present map, in between the epochs that change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.models.noise import shells_of
from napari_cryospin.engine.sums.centring import spread_of
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.membership import Members, Outliers
from napari_cryospin.engine.sums.posteriors import Posteriors
from napari_cryospin.engine.sums.quadrature import Quadrature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.state.problem import Problem

# frequency radius, and particles at once
_RADIUS, _PART = 8, 1000
# rounds: scores come from the scales that were known before
_ROUNDS = 1


@torch.no_grad()
def find_members(problem: Problem, rows: Tensor, noise: NoiseSpectrum) -> Iterator[tuple[int, int]]:
    """Give particles ``rows`` (m,) the probability that they show the map's particle.

    Yields how many have been looked at, and their total.

    Parameters
    ----------
    problem
        Particles, map and poses.
    rows
        Which particles.
    noise
        Noise of the images.
    """
    particles, poses = problem.particles, problem.poses
    box, device = particles.box, problem.device
    radius = min(_RADIUS, box // 2 - 1)
    points = Quadrature.at(box, radius, radius, spread=spread_of(problem), device=device)
    grid, variance = problem.volume.grid().detach(), noise.variance[shells_of(points.model)]
    members = Members()
    outliers = Outliers.of(members, points, grid, variance, particles.mask_power)
    total = ExactSum(points, grid, variance, outliers)
    found: list[Posteriors] = []
    for part in rows.split(_PART):
        yield sum(len(each.scores) for each in found), len(rows)
        found.append(total.posteriors(problem.observed(part, points.model)))
    if found:
        told = Posteriors.join(found)
        members.learn(told.scores, told.scales)
        poses.membership[rows] = members.of(told.scores, told.scales)
