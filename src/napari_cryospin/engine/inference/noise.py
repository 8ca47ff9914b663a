"""Estimating the noise of the images: what a map leaves of them, averaged over their posteriors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.cells import rotations_of_cells
from napari_cryospin.engine.inference.refinement import Cells, refine
from napari_cryospin.engine.models.noise import NoiseSpectrum, shells_of

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.inference.coarse_grid import CoarseGrid
    from napari_cryospin.engine.inference.likelihood import PoseLikelihood

# particles that the noise is estimated from
PROBES = 48
_ROUNDS = 3
# the residual is measured this much finer than the grid, from so many cells of a level
_FINER = 4
_FEWEST = 8


@torch.no_grad()
def estimate_noise(grid: CoarseGrid, shifts: Tensor, *, radius: float) -> NoiseSpectrum:
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
    """
    likelihood = grid.likelihood
    stack = likelihood.stack
    rows = torch.linspace(0, stack.n - 1, min(PROBES, stack.n), device=shifts.device).long()
    likelihood.noise = _power_of_images(likelihood, rows)
    for _ in range(_ROUNDS):
        log_p = grid.log_probability(rows, shifts[rows])
        _set_noise_on_grid(grid, rows, shifts[rows], torch.softmax(log_p, 1))
    power = torch.stack(
        [
            _refined_residual(likelihood, grid, int(row), one, shift, radius)
            for row, one, shift in zip(rows, log_p, shifts[rows], strict=True)
        ]
    ).mean(0)
    model = likelihood.model(likelihood.nyquist)
    return NoiseSpectrum.of_residuals(power, model, stack.mask_power)


def _power_of_images(likelihood: PoseLikelihood, rows: Tensor) -> NoiseSpectrum:
    """Return what the noise would be if the images held nothing else."""
    stack = likelihood.stack
    model = likelihood.model(likelihood.nyquist)
    power = model.coefficients(stack.images[rows]).square().mean(0)
    return NoiseSpectrum.of_residuals(power, model, stack.mask_power)


def _set_noise_on_grid(grid: CoarseGrid, rows: Tensor, shifts: Tensor, weights: Tensor) -> None:
    """Replace the noise of the shells that the grid resolves."""
    likelihood, model = grid.likelihood, grid.model
    stack = likelihood.stack
    observed = model.shift(model.coefficients(stack.images[rows]), shifts)
    ctf = stack.ctf(rows, model.frequencies)
    mean, square = grid.expected_slices(weights)
    power = (observed.square() - 2 * ctf * observed * mean + ctf.square() * square).mean(0)
    found = NoiseSpectrum.of_residuals(power, model, stack.mask_power).variance
    resolved = torch.arange(len(found), device=found.device) <= shells_of(model).max()
    likelihood.noise = NoiseSpectrum(torch.where(resolved, found, likelihood.noise.variance))


def _refined_residual(
    likelihood: PoseLikelihood,
    grid: CoarseGrid,
    row: int,
    log_p: Tensor,
    shift: Tensor,
    radius: float,
) -> Tensor:
    """Return the mean power of what a particle's refined posterior leaves, (K,), to Nyquist."""
    start = Cells.of_grid(grid.nside, log_p, shift)
    found = refine(likelihood, row, start, depth=_FINER * grid.nside, radius=radius, fewest=_FEWEST)
    model, stack = likelihood.model(likelihood.nyquist), likelihood.stack
    slices = likelihood.slices(rotations_of_cells(found.cells, found.nside), model)
    rows = torch.tensor([row], device=log_p.device)
    observed = model.shift(model.coefficients(stack.images[rows]), shift)
    weight = torch.from_numpy(found.probability().sum(0)).to(observed)
    ctf = stack.ctf(rows, model.frequencies)[0]
    residual = observed[0] - ctf * slices.values
    return weight @ residual.square()
