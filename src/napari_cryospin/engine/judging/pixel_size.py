"""Whether the CTF fits: the pixel size at which it would explain the images best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import shells_of
from napari_cryospin.engine.state.problem import evenly_spread

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.state.problem import Problem

# particles of each half
_PARTICLES = 300
# pixel sizes that are tried, over the one that is given
_TRIED = tuple(round(0.8 + 0.02 * step, 2) for step in range(21))
_TINY = 1e-9


@dataclass(frozen=True)
class PixelSizeFit:
    """The pixel size that fits best.

    Parameters
    ----------
    factor
        The one at which the CTF explains most, over the one that is given.
    gain
        Log-likelihood gained by it, mean, nats per particle.
    """

    factor: float
    gain: float


@torch.no_grad()
def fitting_pixel_size(problem: Problem, halves: HalfMaps) -> PixelSizeFit | None:
    """Return the pixel size whose CTFs fit the particles best, at their poses.

    A factor for each frequency shell is fitted each time: amplitudes are no evidence, only the
    rings of the CTF are. None where the CTF is not known.
    """
    particles, poses = problem.particles, problem.poses
    if particles.ctf_parameters is None:
        return None
    model = ImageModel.within(particles.box, particles.box / 2, problem.device)
    shells = shells_of(model)
    n_shells = int(shells.max()) + 1
    cross = torch.zeros(len(_TRIED), n_shells, device=problem.device)
    power, total = torch.zeros_like(cross), torch.zeros(n_shells, device=problem.device)
    n = 0
    one, two = halves.grids
    for all_rows, grid in zip(halves.rows, (two, one), strict=True):
        rows = evenly_spread(all_rows, _PARTICLES)
        n += len(rows)
        observed = particles.observed(rows, model).coefficients
        slices = model.project(slicer(grid), poses.at(rows))
        slices = slices * poses.scales[rows, None]
        total += _by_shell(observed.square(), shells, n_shells)
        for place, factor in enumerate(_TRIED):
            tried = replace(particles, pixel_size=factor * particles.pixel_size)
            predicted = slices * tried.transfer(rows, model)
            cross[place] += _by_shell(observed * predicted, shells, n_shells)
            power[place] += _by_shell(predicted.square(), shells, n_shells)
    explained = cross.clamp(min=0).square() / power.clamp(min=_TINY)
    present = explained[_TRIED.index(1.0)]
    counts = torch.bincount(shells, minlength=n_shells)
    variance = (total - present).clamp(min=_TINY) / (n * counts).clamp(min=1)
    nats = (0.5 * (explained - present) / variance)[:, counts > 0].sum(1) / n
    best = int(nats.argmax())
    return PixelSizeFit(_TRIED[best], float(nats[best]))


def _by_shell(values: Tensor, shells: Tensor, n_shells: int) -> Tensor:
    """Return the sum of values (b, K) in every shell, (S,)."""
    return torch.zeros(n_shells, device=values.device).index_add_(0, shells, values.sum(0))
