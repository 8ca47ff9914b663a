"""The best modes of many particles at once, from the heaviest cells of their posteriors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.inference.marginal.quadrature import cell_rotations
from napari_cryospin.engine.inference.modes import separation

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.inference.marginal.posteriors import Posteriors


def best_modes(found: Posteriors, nside: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ``n`` best modes of each particle, the heaviest first.

    The heaviest cell is the first mode and takes in all cells near it; the heaviest of the others
    is the second; and so on. Where a particle has fewer modes, its first one fills the places,
    with no weight.

    Returns
    -------
    rotations
        Euler matrices, (b, n, 3, 3).
    shifts
        Origin shifts, pixels, (b, n, 2).
    weights
        Share of the probability of each, (b, n).
    """
    device = found.cells.device
    rotations = cell_rotations(nside).to(device)[found.cells]
    flat = rotations.flatten(2)
    trace = flat @ flat.transpose(1, 2)
    near = trace > 1 + 2 * math.cos(math.radians(separation(nside)))
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
    )
