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
        Integer frequencies (kx, ky) of the images, shape (K, 2), every k followed by −k as
        :func:`~.fourier.disk` gives them.

    Returns
    -------
    Tensor
        Shape (n, K), or (C, n, K).
    """
    half = (grid.shape[-1] - 1) // 2
    batch = grid.reshape(-1, *grid.shape[-3:])
    # the weights of k and −k are the same: both are read at once, from the grid and its mirror
    pair = torch.cat((batch, batch.flip(-3, -2, -1)))
    # grid_sample wants coordinates in [−1, 1], in the order (x, y, z): just what k·A gives
    points = (frequencies[::2] / half) @ rotations[:, :2]
    sampled = values_at(pair, points.reshape(-1, 3)).reshape(2, len(batch), len(rotations), -1)
    slices = sampled.movedim(0, -1).flatten(-2)
    return slices if grid.dim() == 4 else slices[0]


def values_at(grids: Tensor, points: Tensor) -> Tensor:
    """Return grids (C, N, N, N) at points (m, 3), shape (C, m).

    Points are (x, y, z), from −1 at the first voxels to 1 at the last ones.
    """
    # on the CPU grid_sample gives every item of a batch to one thread
    shares = torch.get_num_threads() if grids.device.type == "cpu" else 1
    padded = torch.nn.functional.pad(points, (0, 0, 0, -len(points) % shares))
    sampled = torch.nn.functional.grid_sample(
        grids.expand(shares, *grids.shape),
        padded.view(shares, 1, 1, -1, 3),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )
    return sampled[:, :, 0, 0].transpose(0, 1).flatten(1)[:, : len(points)]


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
    grid = values.new_zeros(values.shape[0], side, side, side)
    if not len(rotations):
        return grid
    grid.requires_grad_()
    with torch.enable_grad():
        slices = central_slices(grid, rotations.detach(), frequencies)
        (result,) = torch.autograd.grad(slices, grid, values)
    return result
