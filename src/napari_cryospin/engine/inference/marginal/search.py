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


@torch.no_grad()
def search_modes(
    problem: Problem, rows: Tensor, n: int, noise: NoiseSpectrum
) -> Iterator[tuple[int, int]]:
    """Replace poses and candidates of particles by the ``n`` best modes of their posteriors.

    Shifts are searched around the present ones. Yields what is done, and its total.

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
    stack, poses, device = problem.stack, problem.poses, problem.device
    radius = min(_RADIUS, stack.box // 2 - 1)
    around = Quadrature.at(stack.box, radius, radius, shifts=False, device=device)
    if problem.model.shifts:
        around = around.with_shifts(torch.tensor(_AROUND, device=device))
    variance = noise.variance[shells_of(around.model)]
    search = ExactSum(around, problem.volume().detach(), variance)
    yield 0, len(rows)
    found: list[Modes] = []
    done = 0
    for part in rows.split(_PART):
        images = Observed.of(stack, part, around.model, poses.scales)
        centred = around.model.shift(images.coefficients, poses.shifts[part])
        posteriors = search.posteriors(replace(images, coefficients=centred))
        found.append(Modes.of(posteriors, around, n).moved(poses.shifts[part]))
        done += len(part)
        yield done, len(rows)
    # all at once: a search that is stopped leaves the poses as they were
    poses.with_candidates(n)
    for part, modes in zip(rows.split(_PART), found, strict=True):
        modes.record(poses, part)
