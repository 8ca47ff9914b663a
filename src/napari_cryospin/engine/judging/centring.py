"""Whether particles lie off-centre: what poses gain from shifts that a run does not estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.state.problem import evenly_spread

if TYPE_CHECKING:
    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.state.problem import Problem

# particles of each half; frequencies beyond this radius are not needed
_PARTICLES, _RADIUS = 100, 12.0


@dataclass(frozen=True)
class Centring:
    """What particles gain from shifts.

    Parameters
    ----------
    gain
        Log-likelihood of poses refined with shifts, less that of poses refined without, median,
        nats.
    rms
        Root mean square of the shifts along each axis, pixels.
    """

    gain: float
    rms: float


def centring(problem: Problem, halves: HalfMaps) -> Centring:
    """Refine some poses with shifts and without, against the half-map without the particle."""
    particles, poses = problem.particles, problem.poses
    model = ImageModel.within(particles.box, min(_RADIUS, particles.box // 2 - 1), problem.device)
    gains, shifts = [], []
    one, two = halves.grids
    for all_rows, grid in zip(halves.rows, (two, one), strict=True):
        half_map = slicer(grid)
        rows = evenly_spread(all_rows, _PARTICLES)
        present = poses.at(rows)
        seen = particles.observed(rows, model, scales=poses.scales[rows])
        residual = seen.coefficients - seen.ctf * model.project(half_map, present)
        noise = NoiseSpectrum.of_residuals(residual.square().mean(0), model, particles.mask_power)
        seen = seen.over(noise.deviation(model))
        without = Alignment(model, half_map, seen, shifted=False).refine(present)
        moved = Alignment(model, half_map, seen).refine(present)
        gains.append(0.5 * len(model.frequencies) * (without.errors - moved.errors))
        shifts.append(moved.poses.shifts - present.shifts)
    gain, found = torch.cat(gains), torch.cat(shifts)
    return Centring(float(gain.median()), float(found.square().mean().sqrt()))
