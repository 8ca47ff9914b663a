"""A look at all shifts that particles may have, once the map shows the structure.

Shifts are followed step by step around the present ones; a particle that began too far from its
own finds its way no more. So one look is made at low frequency, over all poses and over all
shifts, and what it finds is weighed against the present shift at the frequencies in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.inference.grid import shift_grid
from napari_cryospin.engine.inference.marginal.centring import (
    shift_log_prior,
    shift_spread,
    spread_of,
)
from napari_cryospin.engine.inference.marginal.exact import ExactSum
from napari_cryospin.engine.inference.marginal.posteriors import Observed
from napari_cryospin.engine.inference.marginal.quadrature import Quadrature
from napari_cryospin.engine.models.noise import shells_of

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.inference.interface import Problem
    from napari_cryospin.engine.models.noise import NoiseSpectrum

# frequency radius of the look, and that by which shifts are weighed; log-probabilities at a time
_RADIUS, _WEIGHED, _BLOCK = 4, 8, 16_000_000
# how far it goes, in standard deviations of the shifts, and in steps at least
_SPREADS, _LEAST_STEPS = 4.0, 2.0
# another shift is weighed where low frequencies do not speak against it by more than this, nats
_NOT_AGAINST = 10.0
# so many others are weighed, none of them nearer than this, in steps
_OTHERS, _NEAR = 3, 0.5
_PART = 500


@torch.no_grad()
def origins_by_wide_look(problem: Problem, rows: Tensor, noise: NoiseSpectrum) -> Tensor:
    """Return the origin shifts of particles, the present one or a better one, pixels, (m, 2).

    Parameters
    ----------
    problem
        Particles, map and poses.
    rows
        Particles to look at, (m,).
    noise
        Noise of the images.
    """
    stack, device = problem.stack, problem.device
    stack, device = problem.stack, problem.device
    radius = min(_WEIGHED, stack.box // 2 - 1)
    points = Quadrature.at(stack.box, radius, radius, spread=spread_of(problem), device=device)
    variance = noise.variance[shells_of(points.model)]
    total = ExactSum(points, problem.volume().detach(), variance)
    others, against = _other_shifts(problem, rows, noise)
    origins = problem.poses.shifts[rows]
    for part in torch.arange(len(rows), device=device).split(_PART):
        images = Observed.of(stack, rows[part], points.model, problem.poses)
        best, origins[part] = _weighed(total, images)
        for place in range(_OTHERS):
            some = part[against[part, place] < _NOT_AGAINST]
            if not len(some):
                continue
            there = images[some - part[0]].at(points.model, others[some, place])
            evidence, moved = _weighed(total, there)
            better = evidence > best[some - part[0]]
            origins[some[better]] = moved[better]
            best[some[better] - part[0]] = evidence[better]
    return origins


def _weighed(total: ExactSum, images: Observed) -> tuple[Tensor, Tensor]:
    """Return the log-evidence of images around their origins, and the best shift there."""
    found = total.posteriors(images)
    return found.log_evidence, images.origins + found.cell_shifts[:, 0]


def _other_shifts(problem: Problem, rows: Tensor, noise: NoiseSpectrum) -> tuple[Tensor, Tensor]:
    """Return each particle's best shifts besides the present one, at low frequency.

    Returns
    -------
    tuple
        Shifts, pixels, (m, C, 2), and what all poses together say against them, nats, (m, C).
    """
    stack, poses = problem.stack, problem.poses
    radius = min(_RADIUS, stack.box // 2 - 1)
    coarse = Quadrature.at(stack.box, radius, radius, device=problem.device)
    model, step = coarse.model, stack.box / (4 * radius)
    spread = shift_spread(poses.shifts)
    shifts = shift_grid(max(_SPREADS * spread, _LEAST_STEPS * step), step, problem.device)
    prior = shift_log_prior(shifts, spread, step)
    slices = coarse.slices(problem.volume().detach())
    precision = 1 / noise.variance[shells_of(model)]
    found, against = [], []
    for part in rows.split(max(1, _BLOCK // (len(shifts) * len(slices)))):
        ctf = stack.ctf(part, model.frequencies) * poses.scales[part, None]
        moved = model.shift(model.coefficients(stack.images[part])[:, None], shifts)
        power = (ctf.square() * precision) @ slices.square().T
        cross = (ctf[:, None] * moved * precision).flatten(0, 1) @ slices.T
        log_p = cross.view(len(part), len(shifts), -1) - 0.5 * power[:, None]
        evidence = torch.logsumexp(log_p, 2) + prior
        distance = torch.cdist(poses.shifts[part], shifts)
        best, place = evidence.masked_fill(distance < _NEAR * step, -torch.inf).topk(_OTHERS, 1)
        found.append(shifts[place])
        against.append(evidence.amax(1, keepdim=True) - best)
    return torch.cat(found), torch.cat(against)
