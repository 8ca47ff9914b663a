"""Pose search: the best modes of every particle against the present map, over all poses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.inference.marginal.exact import ExactSum
from napari_cryospin.engine.inference.marginal.modes import Modes
from napari_cryospin.engine.inference.marginal.posteriors import Observed
from napari_cryospin.engine.inference.marginal.quadrature import Quadrature
from napari_cryospin.engine.models.noise import shells_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.inference.interface import Problem
    from napari_cryospin.engine.models.noise import NoiseSpectrum

# level and frequency radius of the search
_RADIUS = 12
_PART = 500
# shifts around the present one that are searched as well, pixels
_AROUND = ((0.0, 0.0), (-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5))


class PoseSearch:
    """Finds the best modes of particles on a grid of all poses, and of shifts around the present.

    Parameters
    ----------
    problem
        Particles, map and poses.
    noise
        Noise of the images.
    """

    def __init__(self, problem: Problem, noise: NoiseSpectrum) -> None:
        self._problem = problem
        box, device = problem.stack.box, problem.device
        radius = min(_RADIUS, box // 2 - 1)
        around = Quadrature.at(box, radius, radius, shifts=False, device=device)
        if problem.model.shifts:
            around = around.with_shifts(torch.tensor(_AROUND, device=device))
        self._around = around
        variance = noise.variance[shells_of(around.model)]
        self._sum = ExactSum(around, problem.volume().detach(), variance)

    @torch.no_grad()
    def modes(self, rows: Tensor, n: int) -> Modes:
        """Return the ``n`` best modes of particles ``rows``, (m,)."""
        poses, around = self._problem.poses, self._around
        images = Observed.of(self._problem.stack, rows, around.model, poses.scales)
        centred = around.model.shift(images.coefficients, poses.shifts[rows])
        found = self._sum.posteriors(replace(images, coefficients=centred))
        return Modes.of(found, around, n).moved(poses.shifts[rows])


@torch.no_grad()
def search_modes(
    problem: Problem, rows: Tensor, n: int, noise: NoiseSpectrum
) -> Iterator[tuple[int, int]]:
    """Replace poses and candidates of particles by the ``n`` best modes of their posteriors.

    Yields what is done, and its total.

    Parameters
    ----------
    problem
        Particles, map and poses.
    rows
        Particles to search, (m,).
    n
        Number of candidates.
    noise
        Noise of the images.
    """
    search = PoseSearch(problem, noise)
    yield 0, len(rows)
    found: list[Modes] = []
    done = 0
    for part in rows.split(_PART):
        found.append(search.modes(part, n))
        done += len(part)
        yield done, len(rows)
    # all at once: a search that is stopped leaves the poses as they were
    problem.poses.with_candidates(n)
    for part, modes in zip(rows.split(_PART), found, strict=True):
        modes.record(problem.poses, part)
