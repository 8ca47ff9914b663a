"""Posteriors over all poses of a coarse grid, for many particles at once, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.cells import n_cells, rotations_of_cells
from napari_cryospin.engine.posterior.refinement import frequency_radius_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.posterior.likelihood import PoseLikelihood
    from napari_cryospin.engine.sums.products import PoseSlices

# slices are kept between calls while they take less than this many floats
_KEPT = 40_000_000
_POSES_PER_PART = 8192
# log-probabilities of one call of `rows_per_block` particles
_BLOCK = 16_000_000


class CoarseGrid:
    """Slices of a map at all cells of a level, exact inside a frequency radius.

    Parameters
    ----------
    likelihood
        Map, particles and their noise.
    nside
        Level of the cells.
    radius
        Largest frequency radius, in units of 1/box; 2 nside is used at most.
    """

    def __init__(self, likelihood: PoseLikelihood, nside: int, radius: float) -> None:
        self.likelihood, self.nside = likelihood, nside
        self.model = likelihood.model(frequency_radius_of(nside, radius))
        self._kept: list[PoseSlices] = []
        if n_cells(nside) * len(self.model.frequencies) <= _KEPT:
            self._kept = list(self._sliced())

    @property
    def rows_per_block(self) -> int:
        """Number of particles whose log-probabilities are best computed at once."""
        return max(1, _BLOCK // n_cells(self.nside))

    @torch.no_grad()
    def log_probability(self, rows: Tensor, shifts: Tensor) -> Tensor:
        """Return log-probabilities (b, J) of particles with origin shifts (b, 2), pixels."""
        seen = self.likelihood.whitened(rows, self.model)
        centred = self.model.shift(seen.coefficients, shifts)
        return torch.cat([part.log_probability(centred, seen.ctf) for part in self._parts()], 1)

    @torch.no_grad()
    def expected_slices(self, probability: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means of slices and of their squares under posteriors (b, J), (b, K) each."""
        mean = square = torch.zeros((), device=probability.device)
        first = 0
        for part in self._parts():
            weight = probability[:, first : first + len(part)]
            mean, square = mean + weight @ part.values, square + weight @ part.squares
            first += len(part)
        return mean, square

    def _parts(self) -> Iterator[PoseSlices]:
        return iter(self._kept) if self._kept else self._sliced()

    def _sliced(self) -> Iterator[PoseSlices]:
        for first in range(0, n_cells(self.nside), _POSES_PER_PART):
            cells = np.arange(first, min(first + _POSES_PER_PART, n_cells(self.nside)))
            yield self.likelihood.slices(rotations_of_cells(cells, self.nside), self.model)
