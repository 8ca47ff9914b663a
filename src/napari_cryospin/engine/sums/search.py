"""Pose search: the best modes of every particle against the present map, over all poses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.cells import n_cells
from napari_cryospin.engine.models.noise import shells_of
from napari_cryospin.engine.sums.centring import spread_of
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.modes import ModePoses
from napari_cryospin.engine.sums.quadrature import Quadrature, nside_for
from napari_cryospin.engine.sums.wide_look import WideLook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.state.problem import Problem

# level and frequency radius of the search
_RADIUS = 12
_PART = 500


def numbers_needed(box: int) -> float:
    """Return how many numbers a search keeps of each map: slices at all poses, and their squares.

    Parameters
    ----------
    box
        Working box, pixels.
    """
    radius = min(_RADIUS, box // 2 - 1)
    return 2 * n_cells(nside_for(radius)) * math.pi * radius**2


class PoseSearch:
    """Finds the best modes of particles on a grid of all poses, and of shifts around the present.

    Parameters
    ----------
    problem
        Particles, map and poses.
    noise
        Noise of the images.
    limit
        Largest frequency radius that may be used, in units of 1/box.
    """

    def __init__(self, problem: Problem, noise: NoiseSpectrum, limit: float = math.inf) -> None:
        self._problem = problem
        box, device = problem.particles.box, problem.device
        radius = min(_RADIUS, box // 2 - 1, limit)
        around = self._around = Quadrature.at(
            box, radius, radius, spread=spread_of(problem), device=device, group=problem.group
        )
        variance = noise.variance[shells_of(around.model)]
        self._sum = ExactSum(around, problem.grids, variance)

    @torch.no_grad()
    def modes(self, rows: Tensor, n: int, origins: Tensor | None = None) -> ModePoses:
        """Return the ``n`` best modes of particles ``rows``, (m,).

        ``origins`` are shifts to search around, (m, 2), instead of the present ones.
        """
        images = self._problem.observed(rows, self._around.model)
        if origins is not None:
            images = images.at(self._around.model, origins)
        found = self._sum.posteriors(images)
        return ModePoses.of(found, self._around, n).moved(images.origins)


@torch.no_grad()
def search_modes(
    problem: Problem,
    rows: Tensor,
    n: int,
    noise: NoiseSpectrum,
    limit: float = math.inf,
) -> Iterator[tuple[int, int]]:
    """Replace poses and candidates of particles by the ``n`` best modes of their posteriors.

    Where shifts are estimated, particles whose shift may be a wholly other one are found first.

    Yields what is done, and its total.

    Parameters
    ----------
    problem
        Particles, map and poses.
    rows
        Particles to search, (m,); where there are none, nothing is done.
    n
        Number of candidates.
    noise
        Noise of the images.
    limit
        Largest frequency radius that poses may be found by, in units of 1/box.
    """
    if not len(rows):
        return
    search = PoseSearch(problem, noise, limit)
    look = WideLook(problem, noise) if problem.model.shifts else None
    yield 0, len(rows)
    found: list[ModePoses] = []
    done = 0
    for part in rows.split(_PART):
        found.append(search.modes(part, n, None if look is None else look.origins(part)))
        done += len(part)
        yield done, len(rows)
    # all at once: a search that is stopped leaves the poses as they were
    poses = problem.poses
    if poses.candidate_losses.shape[1] != n:
        winner = poses.winner
        poses.with_candidates(n)
        # who is not searched keeps its pose, and so is one that has been seen
        poses.winner = winner.clamp(max=n - 1)
    for part, modes in zip(rows.split(_PART), found, strict=True):
        modes.record(poses, part)
