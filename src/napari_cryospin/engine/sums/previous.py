"""The previous posterior of every particle, from which the next sum's points are proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.sums.posteriors import KEPT_CELLS
from napari_cryospin.engine.sums.quadrature import cell_rotations, split_cells

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.sums.posteriors import Posteriors
    from napari_cryospin.engine.sums.quadrature import Quadrature


class Memory:
    """The previous posteriors of n particles, from which the next points are proposed.

    Parameters
    ----------
    n
        Number of particles.
    device
        Where it lives.

    Attributes
    ----------
    nside
        Level of the cells, (n,); 0 where a particle has no posterior yet.
    cells, weights
        Heaviest cells and their probabilities, (n, T).
    """

    def __init__(self, n: int, device: torch.device) -> None:
        self.nside = torch.zeros(n, dtype=torch.long, device=device)
        self.cells = torch.zeros(n, KEPT_CELLS, dtype=torch.int32, device=device)
        self.weights = torch.zeros(n, KEPT_CELLS, device=device)

    def remember(self, rows: Tensor, found: Posteriors, quadrature: Quadrature) -> None:
        """Take posteriors in."""
        self.nside[rows] = quadrature.nside
        self.cells[rows], self.weights[rows] = 0, 0.0
        kept = found.cells.shape[1]
        self.cells[rows, :kept] = found.cells.int()
        self.weights[rows, :kept] = found.weights

    def poses(self, rows: Tensor, most: int | None = None) -> Tensor:
        """Return the poses of the heaviest cells of particles (m,) that have any, (m, ≤ T, 3, 3).

        ``most`` is how many are wanted; None: all.
        """
        cells, levels = self.cells[rows, :most].long(), self.nside[rows]
        found = self.weights.new_empty(*cells.shape, 3, 3)
        for level in levels.unique().tolist():
            here = levels == level
            _, own = split_cells(cells[here], level)
            found[here] = cell_rotations(level).to(found.device)[own]
        return found

    def classes(self, rows: Tensor) -> Tensor:
        """Return the map of the heaviest cell of particles (m,) that have any, (m,)."""
        cells, levels = self.cells[rows, 0].long(), self.nside[rows]
        found = torch.zeros_like(cells)
        for level in levels.unique().tolist():
            here = levels == level
            found[here], _ = split_cells(cells[here], level)
        return found

    def heaviest(self, rows: Tensor) -> Tensor:
        """Return the poses of the heaviest cells of particles (m,) that have any, (m, 3, 3)."""
        return self.poses(rows, 1)[:, 0]

    def state(self) -> dict[str, Tensor]:
        """Return the tensors by name, for a checkpoint."""
        return dict(vars(self))

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore :meth:`state`."""
        vars(self).update(state)
