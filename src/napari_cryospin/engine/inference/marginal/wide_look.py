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
_NOT_AGAINST = 15.0
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
    others, promising = _other_shifts(problem, rows, noise)
    radius = min(_WEIGHED, stack.box // 2 - 1)
    points = Quadrature.at(stack.box, radius, radius, spread=spread_of(problem), device=device)
    variance = noise.variance[shells_of(points.model)]
    total = ExactSum(points, problem.volume().detach(), variance)
    origins = problem.poses.shifts[rows]
    for part in promising.nonzero().flatten().split(_PART):
        here = Observed.of(stack, rows[part], points.model, problem.poses)
        there = here.at(points.model, others[part])
        gain = total.posteriors(there).log_evidence - total.posteriors(here).log_evidence
        better = part[gain > 0]
        origins[better] = others[better]
    return origins


def _other_shifts(problem: Problem, rows: Tensor, noise: NoiseSpectrum) -> tuple[Tensor, Tensor]:
    """Return each particle's best shift away from the present one, (m, 2), and whether it may be.

    The probabilities are those of all poses together, at low frequency.
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
        near = distance < step
        own = evidence.masked_fill(~near, -torch.inf).amax(1)
        best, place = evidence.masked_fill(near, -torch.inf).max(1)
        found.append(shifts[place])
        against.append(own - best)
    return torch.cat(found), torch.cat(against) < _NOT_AGAINST
