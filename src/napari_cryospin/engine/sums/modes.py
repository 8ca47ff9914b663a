"""The best modes of many particles at once, from the heaviest cells of their posteriors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.cells import separation
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.sums.quadrature import cell_rotations, split_cells

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.state.pose_table import PoseTable
    from napari_cryospin.engine.sums.posteriors import Posteriors
    from napari_cryospin.engine.sums.quadrature import Quadrature

# modes of each particle that are kept in marginalisation and in judging
N_MODES = 4


@dataclass(frozen=True)
class ModePoses:
    """The best modes of b particles, the heaviest first.

    Where a particle has fewer than n of them, its first one fills the places, with no weight.

    Parameters
    ----------
    rotations
        Euler matrices, (b, n, 3, 3).
    shifts
        Origin shifts, pixels, (b, n, 2).
    weights
        Share of the probability of each, (b, n).
    errors
        Error per Fourier coefficient of each, in units of the noise's variance, (b, n).
    classes
        Map that each is a mode of, (b, n).
    """

    rotations: Tensor
    shifts: Tensor
    weights: Tensor
    errors: Tensor
    classes: Tensor

    @classmethod
    def of(cls, found: Posteriors, quadrature: Quadrature, n: int) -> ModePoses:
        """Return the ``n`` best modes of posteriors.

        The heaviest cell is the first mode and takes in all cells near it; the heaviest of the
        others is the second; and so on.
        """
        rotations, shifts, weights, classes = _best(found, quadrature.nside, n)
        # what a mode has less of probability it has more of error, 2 nats for each coefficient
        behind = (weights[:, :1] / weights).log() * (2 / quadrature.n_used)
        return cls(rotations, shifts, weights, found.errors[:, None] + behind, classes)

    def moved(self, origins: Tensor) -> ModePoses:
        """Return the modes of images that were centred by origin shifts (b, 2) before."""
        return replace(self, shifts=self.shifts + origins[:, None])

    def record(self, poses: PoseTable, rows: Tensor) -> None:
        """Make the modes the candidates of particles ``rows`` (b,), the best one their pose."""
        modes = Poses(self.rotations, self.shifts, self.classes)
        poses.set_candidates(rows, modes, self.errors.where(self.weights > 0, torch.nan))
        poses.set_at(rows, modes[:, 0])
        poses.losses[rows] = self.errors[:, 0]
        poses.winner[rows] = 0


def _best(found: Posteriors, nside: int, n: int) -> tuple[Tensor, ...]:
    """Return rotations, shifts, weights and maps of the ``n`` best modes."""
    device = found.cells.device
    maps, cells = split_cells(found.cells, nside)
    rotations = cell_rotations(nside).to(device)[cells]
    flat = rotations.flatten(2)
    trace = flat @ flat.transpose(1, 2)
    near = trace > 1 + 2 * math.cos(math.radians(separation(nside)))
    near &= maps[:, :, None] == maps[:, None]
    left = found.weights.clone()
    rows = torch.arange(len(left), device=device)
    first = left.argmax(1)
    chosen, weights = [], []
    for _ in range(n):
        peak = left.argmax(1)
        empty = left[rows, peak] <= 0
        peak = torch.where(empty, first, peak)
        weights.append((left * near[rows, peak]).sum(1).masked_fill(empty, 0))
        chosen.append(peak)
        left = left.masked_fill(near[rows, peak], 0)
    places = torch.stack(chosen, 1)
    return (
        rotations[rows[:, None], places],
        found.cell_shifts[rows[:, None], places],
        torch.stack(weights, 1),
        maps[rows[:, None], places],
    )
