"""Estimating the noise of the images: what a map leaves of them, averaged over their posteriors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.cells import rotations_of_cells
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.posterior.refinement import Cells, refine
from napari_cryospin.engine.sums.weights import normalised

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.posterior.coarse_grid import CoarseGrid
    from napari_cryospin.engine.posterior.likelihood import PoseLikelihood

# particles that the noise is estimated from
PROBES = 48
_ROUNDS = 3
# the residual is measured at poses drawn from posteriors refined to cells this much finer than the
# grid's, unless more cells than these share the probability
_DRAWN = 16
_FINER = 4
_FEWEST, _MOST = 8, 24


@torch.no_grad()
def estimate_noise(
    grid: CoarseGrid,
    shifts: Tensor,
    *,
    radius: float,
    of: Tensor | None = None,
    alive: Callable[[], None] | None = None,
) -> NoiseSpectrum:
    """Return the noise by frequency shell.

    Where the map is wrong, what it gets wrong counts as noise: a poor map decides little, and its
    posteriors are broad. First from the posteriors on the grid, which depend on the noise and are
    computed anew three times; then from poses refined around them, at all frequencies.

    Parameters
    ----------
    grid
        Coarse grid with the map; its likelihood's noise is set on the way.
    shifts
        Origin shifts (x, y) of all particles, pixels, shape (n, 2).
    radius
        Largest frequency radius, in units of 1/box.
    of
        Rows of the particles that the map is of, (m,); by default all are.
    alive
        Called now and then; it may raise to end the work.
    """
    likelihood, alive = grid.likelihood, alive or _nothing
    particles = likelihood.particles
    chosen = torch.arange(particles.n, device=shifts.device) if of is None else of
    places = torch.linspace(0, len(chosen) - 1, min(PROBES, len(chosen)), device=shifts.device)
    rows = chosen[places.long()]
    likelihood.noise = particles.noise(rows)
    for _ in range(_ROUNDS):
        alive()
        log_p = grid.log_probability(rows, shifts[rows])
        _set_noise_on_grid(grid, rows, shifts[rows], normalised(log_p)[0])
    starts = [
        Cells.of_grid(grid.nside, one, shifts[row]) for row, one in zip(rows, log_p, strict=True)
    ]
    poses = np.stack(
        [
            _drawn(likelihood, int(row), start, _FINER * grid.nside, radius, alive)
            for row, start in zip(rows, starts, strict=True)
        ]
    )
    model = likelihood.model(likelihood.nyquist)
    power = _residual(likelihood, rows, shifts[rows], poses)
    return NoiseSpectrum.of_residuals(power, model, particles.mask_power)


def _set_noise_on_grid(grid: CoarseGrid, rows: Tensor, shifts: Tensor, weights: Tensor) -> None:
    """Replace the noise of the shells that the grid resolves."""
    likelihood, model = grid.likelihood, grid.model
    seen = likelihood.observed(rows, model, shifts)
    observed, ctf = seen.coefficients, seen.ctf
    mean, square = grid.expected_slices(weights)
    power = (observed.square() - 2 * ctf * observed * mean + ctf.square() * square).mean(0)
    found = NoiseSpectrum.of_residuals(power, model, likelihood.particles.mask_power)
    likelihood.noise = likelihood.noise.replaced(found, model)


def _drawn(
    likelihood: PoseLikelihood,
    row: int,
    start: Cells,
    depth: int,
    radius: float,
    alive: Callable[[], None],
) -> NDArray[np.float64]:
    """Return poses drawn from the refined posterior of a particle, (_DRAWN, 3, 3)."""
    alive()
    levels = refine(likelihood, row, start, depth=depth, radius=radius, fewest=_FEWEST, most=_MOST)
    found = levels[-1]
    rng = np.random.default_rng(row)
    chosen = rng.choice(found.cells, _DRAWN, p=found.probability().sum(0))
    return rotations_of_cells(chosen, found.nside)


def _nothing() -> None:
    """Go on."""


def _residual(
    likelihood: PoseLikelihood, rows: Tensor, shifts: Tensor, poses: NDArray[np.float64]
) -> Tensor:
    """Return the mean power, to Nyquist, (K,), of what poses (b, s, 3, 3) leave of particles."""
    model = likelihood.model(likelihood.nyquist)
    slices = likelihood.slices(poses.reshape(-1, 3, 3), model).values
    seen = likelihood.observed(rows, model, shifts)
    residual = seen.coefficients[:, None] - seen.ctf[:, None] * slices.unflatten(0, (len(rows), -1))
    result: Tensor = residual.square().mean((0, 1))
    return result
