"""The modes of posteriors on a pose grid: peaks, each with the probability that flows to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.cells import neighbours, rotations_of_cells, separation
from napari_cryospin.engine.geometry.rotations import angular_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# a mode counts where it holds at least this share of the probability
MODE_WEIGHT = 0.05
# most probable cells of a particle that are looked at; the others together hold next to nothing
_CELLS = 512
_MOST_MODES = 8


@dataclass(frozen=True)
class ModeCells:
    """Modes of the posteriors of b particles, the heaviest first; K of each at most.

    Parameters
    ----------
    nside
        Level of the cells.
    cells
        The peak of each mode, shape (b, K); −1 where a particle has fewer.
    weights
        Share of the probability that belongs to it, shape (b, K); 0 where it has fewer.
    """

    nside: int
    cells: NDArray[np.int64]
    weights: NDArray[np.float64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Modes of each particle with at least ``MODE_WEIGHT`` of its probability, shape (b,)."""
        return np.asarray((self.weights >= MODE_WEIGHT).sum(1))

    @property
    def rotations(self) -> NDArray[np.float64]:
        """Poses of the peaks, (b, K, 3, 3); NaN where a particle has fewer modes."""
        found = self.cells >= 0
        result = np.full((*self.cells.shape, 3, 3), np.nan)
        result[found] = rotations_of_cells(self.cells[found], self.nside)
        return result


def find_modes(log_p: Tensor, nside: int) -> ModeCells:
    """Return the modes of posteriors over all cells of a level from log-probabilities (b, J).

    Every cell points to its most probable neighbour, and so to a peak; the cells of a peak are its
    basin. Basins whose peaks are closer than :func:`separation` are one mode.
    """
    highest, cells = log_p.topk(min(_CELLS, log_p.shape[1]), 1)
    shares = (highest - torch.logsumexp(log_p, 1, keepdim=True)).exp().cpu().numpy()
    peaks = _climb(log_p, cells, nside).cpu().numpy()
    found = np.full((len(peaks), _MOST_MODES), -1)
    weights = np.zeros((len(peaks), _MOST_MODES))
    for row, (peak, share) in enumerate(zip(peaks, shares, strict=True)):
        kept, total = _merged(peak, share, nside)
        found[row, : len(kept)], weights[row, : len(kept)] = kept, total
    return ModeCells(nside, found, weights)


def _climb(log_p: Tensor, cells: Tensor, nside: int) -> Tensor:
    """Return the peak to which each of the given cells (b, k) leads."""
    near = torch.from_numpy(neighbours(nside)).to(cells.device)[cells]
    values = log_p.gather(1, near.flatten(1)).view(near.shape)
    best, place = values.max(2)
    # only upwards: cells that are equally probable must not point at each other
    target = torch.where(best > values[..., 0], near.gather(2, place[..., None])[..., 0], cells)
    next_cell = torch.zeros_like(log_p, dtype=torch.long).scatter_(1, cells, target)
    peaks = cells
    # a better neighbour of a given cell is given too
    while not torch.equal(above := next_cell.gather(1, peaks), peaks):
        peaks = above
    return peaks


def _merged(
    peaks: NDArray[np.int64], shares: NDArray[np.floating], nside: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return peaks that are far from each other and the shares of their basins, heaviest first."""
    cells, basin = np.unique(peaks, return_inverse=True)
    totals = np.bincount(basin, shares)
    order = np.argsort(-totals)[: 4 * _MOST_MODES]
    cells, totals = cells[order], totals[order].astype(np.float64)
    rotations = rotations_of_cells(cells, nside)
    distances = angular_distance(rotations[:, None], rotations[None])
    own = np.arange(len(cells))
    for later in range(1, len(cells)):
        earlier = np.flatnonzero(own[:later] == np.arange(later))
        nearest = earlier[distances[later, earlier].argmin()]
        if distances[later, nearest] < separation(nside):
            own[later] = nearest
    merged = np.bincount(own, totals, minlength=len(cells)).astype(np.float64)
    kept = np.flatnonzero(own == np.arange(len(cells)))
    kept = kept[np.argsort(-merged[kept])][:_MOST_MODES]
    return cells[kept], merged[kept]
