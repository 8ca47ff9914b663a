"""The poses and shifts that posteriors are summed over, at a frequency radius."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.cells import n_cells, rotations_of_cells
from napari_cryospin.engine.geometry.rotations import exponential_map
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.sums.centring import shift_log_prior

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 120_000_000
"""Slices of a map at all cells are kept while they take less than so many floats."""

# finest step of shifts, pixels
_FINEST_SHIFT = 0.5
# frequency radii of the march, in units of 1/box; the lowest decide which structure is found
_RADII = (3, 4, 5, 6, 7, 8, 10, 13, 16)
_STEP = 4
# traces of rotations that differ by no more than rounding, and a rotation vector of no meaning
_SAME, _MIDDLE = 1e-5, (0.31, -0.57, 0.83)
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
    unit
        Cells of the asymmetric unit, ascending, (U,): of a pose and its mates one; None: all.
    group
        Turns after which the map is the same, the identity among them, (g, 3, 3); None: none.
    """

    nside: int
    rotations: Tensor
    shifts: Tensor
    model: ImageModel
    n_used: int
    spread: float | None = None
    unit: Tensor | None = None
    group: Tensor | None = None

    @classmethod
    def at(
        cls,
        box: int,
        radius: float,
        beyond: float,
        *,
        spread: float | None = None,
        device: torch.device | str = "cpu",
        group: Tensor | None = None,
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
        group
            Turns after which the map is the same, (g, 3, 3): poses are those of the asymmetric
            unit.
        """
        nside = nside_for(radius)
        model = ImageModel.within(box, beyond, device)
        # a quarter of the finest period in use
        step = max(_FINEST_SHIFT, box / (4 * radius))
        tried = torch.zeros(1, 2) if spread is None else shift_grid(1.5 * step, step)
        tried = tried[tried.norm(dim=1).argsort(stable=True)]
        used = int((model.frequencies.norm(dim=1) <= radius + 1e-4).sum())
        rotations = cell_rotations(nside).to(device)
        unit = None if group is None or len(group) == 1 else asymmetric_unit(rotations, group)
        return cls(nside, rotations, tried.to(device), model, used, spread, unit, group)

    @property
    def unit_rotations(self) -> Tensor:
        """Euler matrices of the cells of the asymmetric unit, (U, 3, 3)."""
        return self.rotations if self.unit is None else self.rotations[self.unit]

    def cells_of(self, places: Tensor) -> Tensor:
        """Return the cells that stand at places of the asymmetric unit, map after map."""
        if self.unit is None:
            return places
        n = len(self.unit)
        return places // n * len(self.rotations) + self.unit[places % n]

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
        return len(self.rotations) * len(self.model.frequencies) <= KEPT

    @property
    def n_points(self) -> int:
        """Number of points of the sum, poses of the asymmetric unit times shifts."""
        return len(self.unit_rotations) * len(self.shifts)

    def images_per_block(self, n_points: int) -> int:
        """Return the number of images of which so many points each are computed at once."""
        return max(1, _BLOCK // n_points)

    def slices(self, grids: Tensor, *, unit: bool = False) -> Tensor:
        """Return the slices of Hartley grids at all cells, or those of the unit, map after map.

        Of C grids (C, D+1, D+1, D+1), or of one, (D+1)³: (C J, K).
        """
        rotations = self.unit_rotations if unit else self.rotations
        each = grids.reshape(-1, *grids.shape[-3:])
        found = [slicer(grid).slices(rotations, self.model.frequencies) for grid in each]
        # one map's are not copied
        return torch.cat(found) if len(found) > 1 else found[0]


def asymmetric_unit(rotations: Tensor, group: Tensor) -> Tensor:
    """Return which of rotations (J, 3, 3) lie in an asymmetric unit, indices, (U,).

    Of mates the one that is nearest to a certain pose is kept: one of no special place among the
    cells, or many of them would have two that are as near.
    """
    middle = exponential_map(torch.tensor([_MIDDLE], device=rotations.device))[0]
    mates = torch.einsum("ab,jbc,gca->jg", middle, rotations, group)
    own = torch.einsum("ab,jba->j", middle, rotations)
    return (own >= mates.amax(1) - _SAME).nonzero().flatten()


def split_cells(cells: Tensor, nside: int) -> tuple[Tensor, Tensor]:
    """Return the maps, and the cells of a level, of cells that are numbered on from map to map."""
    n = n_cells(nside)
    return cells // n, cells % n


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
