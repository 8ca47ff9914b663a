"""Central slices of a Hartley grid, and their transpose, by trilinear interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def central_slices(grid: Tensor, rotations: Tensor, frequencies: Tensor) -> Tensor:
    """Return central slices of a map's Hartley grid, differentiable in the grid and the poses.

    Parameters
    ----------
    grid
        Hartley grid (D+1)³, axes (z, y, x), frequency 0 at index D/2; or several of them at once,
        shape (C, D+1, D+1, D+1).
    rotations
        Euler matrices, shape (n, 3, 3).
    frequencies
        Integer frequencies (kx, ky) of the images, shape (K, 2).

    Returns
    -------
    Tensor
        Shape (n, K), or (C, n, K).
    """
    half = (grid.shape[-1] - 1) // 2
    # grid_sample wants coordinates in [−1, 1], in the order (x, y, z): just what k·A gives
    points = (frequencies / half) @ rotations[:, :2]
    batch = grid.reshape(1, -1, *grid.shape[-3:])
    sampled = torch.nn.functional.grid_sample(
        batch, points[None, None], mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return sampled[0, :, 0] if grid.dim() == 4 else sampled[0, 0, 0]


def insert_slices(values: Tensor, rotations: Tensor, frequencies: Tensor, box: int) -> Tensor:
    """Add slices into empty Hartley grids: the transpose of :func:`central_slices`.

    Parameters
    ----------
    values
        Slices, shape (C, n, K).
    rotations, frequencies
        As in :func:`central_slices`.
    box
        Side D of the map.

    Returns
    -------
    Tensor
        Shape (C, D+1, D+1, D+1).
    """
    side = box + 1
    grid = values.new_zeros(values.shape[0], side, side, side).requires_grad_()
    with torch.enable_grad():
        slices = central_slices(grid, rotations.detach(), frequencies)
        (result,) = torch.autograd.grad(slices, grid, values)
    return result
