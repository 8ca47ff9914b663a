"""The map as an explicit Hartley grid: mantissa · exp(exponent) in every voxel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_cryospin.engine.geometry.fourier import (
    hartley_grid_from_map,
    interpolation_window,
    map_from_hartley_grid,
)
from napari_cryospin.engine.geometry.slices import central_slices

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.models.image import ImageModel


class Map(nn.Module, ABC):
    """What decodes poses into slices: the map, however it is held.

    Inferences ask for no more than this, and for parameters that an optimiser can step.

    Attributes
    ----------
    amplitude
        Expected amplitude of the coefficients at frequency radius 0, 1, …, (≥ D/2,).
    """

    amplitude: Tensor

    @abstractmethod
    def grid(self) -> Tensor:
        """Return the Hartley grid, (D+1, D+1, D+1), differentiable by the parameters."""

    @abstractmethod
    def assign(self, grid: Tensor) -> None:
        """Make the map that of a grid, as near as it can be held."""

    def slices(self, rotations: Tensor, model: ImageModel) -> Tensor:
        """Return central slices at Euler matrices (n, 3, 3), (n, K), differentiable by both."""
        return central_slices(self.grid(), rotations, model.frequencies)

    @torch.no_grad()
    def average(self) -> Tensor:
        """Return the rotational average of the grid, (D+1)³, which tells no pose from another."""
        grid = self.grid()
        radius = frequency_radius(len(grid) - 1).to(grid.device)
        flat = radius.flatten()
        mean = torch.bincount(flat, grid.flatten()) / torch.bincount(flat).clamp(min=1)
        return mean[radius]


class HartleyVolume(Map):
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

    def grid(self) -> Tensor:
        """Return the Hartley grid, shape (D+1, D+1, D+1)."""
        return self.mantissa * self.exponent.exp()

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
