"""The poses and shifts that posteriors are summed over, at a frequency radius."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.cells import n_cells, rotations_of_cells
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.sums.centring import shift_log_prior

if TYPE_CHECKING:
    from torch import Tensor

# finest step of shifts, pixels
_FINEST_SHIFT = 0.5
# frequency radii of the march, in units of 1/box; the lowest decide which structure is found
_RADII = (3, 4, 5, 6, 7, 8, 10, 13, 16)
_STEP = 4
# slices of all cells are kept while they take less than this many floats
_KEPT = 120_000_000
# floats of one block of log-probabilities
_BLOCK = 16_000_000


def march_radii(box: int, nside: int, limit: float) -> list[int]:
    """Return the frequency radii of a march, ascending, in units of 1/box.

    Parameters
    ----------
    box
        Working box, pixels.
    nside
        Finest level of the pose grid; it resolves 2 nside.
    limit
        Largest radius that is wanted.
    """
    last = int(min(2 * nside, limit, box // 2 - 1))
    radii = [*_RADII, *range(_RADII[-1] + _STEP, last, _STEP)]
    inside = [radius for radius in radii if radius < last]
    return [*inside, last]


def nside_for(radius: float) -> int:
    """Return the level that a frequency radius needs: the coarsest with ``2 nside ≥ radius``."""
    nside = 2
    while 2 * nside < radius:
        nside *= 2
    return nside


@dataclass(frozen=True)
class Quadrature:
    """The points of a sum over poses and shifts, at one frequency radius.

    Parameters
    ----------
    nside
        Level of the cells of poses.
    rotations
        Euler matrices of their centres, (J, 3, 3).
    shifts
        Shifts (x, y) from a particle's present origin, pixels of the working box, (S, 2), no shift
        first; it alone where shifts are known.
    model
        Image model of the frequencies that the map is estimated at, K of them.
    n_used
        The first so many of them are those that poses are judged by.
    spread
        Standard deviation per axis of the particles' shifts, pixels: their prior is a Gaussian.
        None where shifts are known.
    """

    nside: int
    rotations: Tensor
    shifts: Tensor
    model: ImageModel
    n_used: int
    spread: float | None = None

    @classmethod
    def at(
        cls,
        box: int,
        radius: float,
        beyond: float,
        *,
        spread: float | None = None,
        device: torch.device | str = "cpu",
    ) -> Quadrature:
        """Return the points that a frequency radius needs.

        Parameters
        ----------
        box
            Working box, pixels.
        radius
            Poses are judged by frequencies up to here, in units of 1/box.
        beyond
            The map is estimated up to here, to see what is gained by more.
        spread
            Standard deviation per axis of the shifts, pixels, to sum over shifts by one step in
            each direction; None where shifts are known.
        device
            Where the tensors live.
        """
        nside = nside_for(radius)
        model = ImageModel.within(box, beyond, device)
        # a quarter of the finest period in use
        step = max(_FINEST_SHIFT, box / (4 * radius))
        tried = torch.zeros(1, 2) if spread is None else shift_grid(1.5 * step, step)
        tried = tried[tried.norm(dim=1).argsort(stable=True)]
        used = int((model.frequencies.norm(dim=1) <= radius + 1e-4).sum())
        rotations = cell_rotations(nside).to(device)
        return cls(nside, rotations, tried.to(device), model, used, spread)

    @property
    def estimates_shifts(self) -> bool:
        """Whether shifts are summed over."""
        return self.spread is not None

    def log_prior(self, origins: Tensor) -> Tensor:
        """Return the log-probabilities of the shifts from origins (b, 2), (b, S)."""
        if self.spread is None:
            return origins.new_zeros(len(origins), 1)
        step = float(self.shifts[1].norm())
        return shift_log_prior(origins[:, None] + self.shifts, self.spread, step)

    def moved(self, coefficients: Tensor) -> Tensor:
        """Return images (b, K) moved by every shift, (b, S, K)."""
        if not self.estimates_shifts:
            return coefficients[:, None]
        return self.model.shift(coefficients[:, None], self.shifts)

    @property
    def keeps_slices(self) -> bool:
        """Whether the slices of all cells fit into memory."""
        return len(self.rotations) * len(self.model.frequencies) <= _KEPT

    @property
    def n_points(self) -> int:
        """Number of points of the sum, poses times shifts."""
        return len(self.rotations) * len(self.shifts)

    def images_per_block(self, n_points: int) -> int:
        """Return the number of images of which so many points each are computed at once."""
        return max(1, _BLOCK // n_points)

    def slices(self, grid: Tensor) -> Tensor:
        """Return the slices of a Hartley grid (D+1)³ at all cells, (J, K)."""
        return slicer(grid).slices(self.rotations, self.model.frequencies)


@lru_cache(maxsize=4)
def cell_rotations(nside: int) -> Tensor:
    """Return the Euler matrices of all cells of a level, (J, 3, 3)."""
    return torch.from_numpy(rotations_of_cells(np.arange(n_cells(nside)), nside)).float()


def shift_grid(extent: float, step: float, device: torch.device | str = "cpu") -> Tensor:
    """Return shifts (x, y) on a square grid in the circle of radius ``extent``, (S, 2), pixels."""
    n = int(extent // step)
    line = step * torch.arange(-n, n + 1, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack((x.flatten(), y.flatten()), 1)
    return grid[grid.norm(dim=1) <= extent + 1e-6].to(device)
