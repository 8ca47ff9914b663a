"""The map as an explicit Hartley grid: mantissa · exp(exponent) in every voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_cryospin.engine.geometry.fourier import (
    hartley_grid_from_map,
    interpolation_window,
    map_from_hartley_grid,
)

if TYPE_CHECKING:
    from torch import Tensor


class HartleyVolume(nn.Module):
    """An explicit map in Hartley space (cryoSPIN, section 3.3).

    Parameters
    ----------
    box
        Side D of the map; the grid has (D+1)³ voxels, axes (z, y, x).
    amplitude
        Expected amplitude of the coefficients at frequency radius 0, 1, …, shape (≥ D/2,). The
        exponents start at its logarithm, so that a step of the optimiser has the scale of the data.
    generator
        Source of the random start.
    """

    radius: Tensor

    def __init__(self, box: int, amplitude: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        self.box, self.amplitude = box, amplitude
        self.register_buffer("radius", frequency_radius(box), persistent=False)
        self.exponent = nn.Parameter(amplitude[self.radius.clamp(max=len(amplitude) - 1)].log())
        start = torch.randn(self.radius.shape, generator=generator)
        self.mantissa = nn.Parameter(0.1 * start)

    def forward(self) -> Tensor:
        """Return the Hartley grid, shape (D+1, D+1, D+1)."""
        return self.mantissa * self.exponent.exp()

    @torch.no_grad()
    def average(self) -> Tensor:
        """Return the rotational average of the grid, (D+1)³, which tells no pose from another."""
        flat = self.radius.flatten()
        mean = torch.bincount(flat, self().flatten()) / torch.bincount(flat).clamp(min=1)
        return mean[self.radius]

    @torch.no_grad()
    def assign(self, grid: Tensor) -> None:
        """Set the grid, keeping the exponents."""
        self.mantissa.copy_(grid / self.exponent.exp())


def frequency_radius(box: int) -> Tensor:
    """Return the rounded frequency radius of every voxel of a Hartley grid, int64, (D+1)³."""
    k = torch.arange(box + 1) - box // 2
    squared = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2
    return squared.double().sqrt().round().long()


def map_of_grid(grid: Tensor) -> Tensor:
    """Return the map (D, D, D) whose projections the trilinear slices of a grid are."""
    box = grid.shape[-1] - 1
    return map_from_hartley_grid(grid) * interpolation_window(box, grid.device)


def grid_of_map(volume: Tensor) -> Tensor:
    """Return the grid (D+1)³ whose trilinear slices are the projections of a map."""
    window = interpolation_window(volume.shape[-1], volume.device)
    return hartley_grid_from_map(volume / window)
