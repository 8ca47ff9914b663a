"""Pose search: the best modes of every particle against the present map, over all poses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.inference.marginal.exact import ExactSum
from napari_cryospin.engine.inference.marginal.modes import best_modes
from napari_cryospin.engine.inference.marginal.posteriors import Observed
from napari_cryospin.engine.inference.marginal.quadrature import Quadrature
from napari_cryospin.engine.models.noise import shells_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.inference.interface import Problem
    from napari_cryospin.engine.inference.marginal.posteriors import Posteriors
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
    poses.with_candidates(n)
    yield 0, len(rows)
    done = 0
    for part in rows.split(_PART):
        images = Observed.of(stack, part, around.model, poses.scales)
        centred = around.model.shift(images.coefficients, poses.shifts[part])
        found = search.posteriors(replace(images, coefficients=centred), spread=1.0)
        record_modes(problem, part, found, around, poses.shifts[part], n)
        done += len(part)
        yield done, len(rows)


def record_modes(
    problem: Problem,
    rows: Tensor,
    found: Posteriors,
    quadrature: Quadrature,
    origin: Tensor | float,
    n: int,
) -> None:
    """Make the modes of posteriors the candidates of particles, and the best one their pose.

    Parameters
    ----------
    problem
        Its poses are changed.
    rows
        The particles, (b,).
    found
        Their posteriors.
    quadrature
        What they were summed over.
    origin
        Origin shifts (x, y) that the images were centred by before, pixels, (b, 2); or 0.
    n
        Number of candidates.
    """
    rotations, shifts, weights = best_modes(found, quadrature.nside, n)
    poses = problem.poses
    poses.candidates[rows] = rotations
    shifts = shifts + (origin if isinstance(origin, float) else origin[:, None])
    poses.candidate_shifts[rows] = shifts
    poses.rotations[rows], poses.shifts[rows] = rotations[:, 0], shifts[:, 0]
    # what a mode has less of probability it has more of error, 2 nats for each coefficient's half
    behind = (weights[:, :1] / weights).log() * (2 / quadrature.n_used)
    losses = found.errors[:, None] + behind
    poses.candidate_losses[rows] = losses.where(weights > 0, torch.nan)
    poses.losses[rows] = losses[:, 0]
    poses.winning_head[rows] = 0
