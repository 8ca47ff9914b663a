"""The map in closed form from images with given poses: weighted back-projection, then division."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.fourier import (
    hartley_grid_from_map,
    interpolation_window,
    map_from_hartley_grid,
)
from napari_cryospin.engine.geometry.slices import insert_slices
from napari_cryospin.engine.models.volume import frequency_radius

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.inference.poses import PoseTable
    from napari_cryospin.engine.models.image import ImageModel

# slices with less than this share of the mean weight are left out: they carry nothing
_NEGLIGIBLE = 1e-4
# pixels over which the sphere around the map ends
_EDGE = 3
# the prior's weight where nothing is known of the signal, as a share of a shell's mean weight
_DEFAULT_PRIOR = 0.1


def back_project(
    stack: WorkingStack, poses: PoseTable, rows: Tensor, model: ImageModel, *, batch: int = 512
) -> Tensor:
    """Return the sums of CTF·image and CTF² of particles at their poses, (2, D+1, D+1, D+1)."""
    side = stack.box + 1
    total = torch.zeros(2, side, side, side, device=stack.images.device)
    for part in rows.split(batch):
        observed = model.coefficients(stack.images[part])
        observed = model.shift(observed, poses.shifts[part])
        ctf = stack.ctf(part, model.frequencies)
        values = torch.stack((ctf * observed, ctf.square()))
        total += insert_slices(values, poses.rotations[part], model.frequencies, stack.box)
    return total


def divide(inserted: Tensor, prior: Tensor | None = None) -> Tensor:
    """Return the Hartley grid from back-projected sums (2, D+1, D+1, D+1).

    Parameters
    ----------
    inserted
        Sums of CTF·image and of CTF².
    prior
        Noise-to-signal ratio of each shell as a share of its mean weight, shape (≥ D/2 + 1,), as in
        RELION's regularised likelihood, (1 − FSC) / FSC; a tenth by default.
    """
    radius = frequency_radius(inserted.shape[-1] - 1).to(inserted.device)
    flat, weights = radius.flatten(), inserted[1].flatten()
    mean = torch.bincount(flat, weights) / torch.bincount(flat)
    share = torch.full_like(mean, _DEFAULT_PRIOR)
    if prior is not None:
        share = prior[torch.arange(len(mean)).clamp(max=len(prior) - 1)].to(mean)
    # the last term keeps voxels without any weight at zero
    regular = share * mean + 1e-3 * mean.max()
    return without_window(inserted[0] / (inserted[1] + regular[radius]))


def without_window(grid: Tensor) -> Tensor:
    """Return the grid (D+1)³ whose slices give back the slices that were inserted into another.

    Inserting by trilinear interpolation multiplies the map by a window, and so does slicing: both
    are divided out, inside the sphere that the images show.
    """
    box = grid.shape[-1] - 1
    window = interpolation_window(box, grid.device)
    return hartley_grid_from_map(
        map_from_hartley_grid(grid) / window.square() * _sphere(box).to(grid.device)
    )


def _sphere(box: int) -> Tensor:
    """Return 1 inside the largest sphere of a box, with a soft edge, and 0 outside, (D, D, D)."""
    x = torch.arange(box) - box // 2
    radius = (x[:, None, None] ** 2 + x[:, None] ** 2 + x**2).float().sqrt()
    ramp = ((box / 2 - radius) / _EDGE).clamp(0, 1)
    return 0.5 - 0.5 * torch.cos(math.pi * ramp)


def solve_map(sums: Tensor, rotations: Tensor, model: ImageModel) -> Tensor:
    """Return the Hartley grid from sums of CTF·image and CTF² per grid pose, (2, J, K)."""
    weight = sums[1].mean(1)
    used = weight > _NEGLIGIBLE * weight.mean()
    return divide(insert_slices(sums[:, used], rotations[used], model.frequencies, model.box))
