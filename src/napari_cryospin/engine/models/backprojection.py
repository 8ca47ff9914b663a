"""The map in closed form from back-projected sums, without the window of the gridding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.fourier import (
    hartley_grid_from_map,
    interpolation_window,
    map_from_hartley_grid,
)
from napari_cryospin.engine.models.volume import frequency_radius

if TYPE_CHECKING:
    from torch import Tensor

# pixels over which the sphere around the map ends
_EDGE = 3
# the prior's weight where nothing is known of the signal, as a share of a shell's mean weight
_DEFAULT_PRIOR = 0.1


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
        map_from_hartley_grid(grid) / window.square() * sphere(box).to(grid.device)
    )


def sphere(box: int) -> Tensor:
    """Return 1 inside the largest sphere of a box, with a soft edge, and 0 outside, (D, D, D)."""
    x = torch.arange(box) - box // 2
    radius = (x[:, None, None] ** 2 + x[:, None] ** 2 + x**2).float().sqrt()
    ramp = ((box / 2 - radius) / _EDGE).clamp(0, 1)
    return 0.5 - 0.5 * torch.cos(math.pi * ramp)
