"""Pose search: all poses anew from the exact posterior on a grid, low frequencies first.

Each round evaluates the posterior of every particle on the grid inside a frequency disk (E-step)
and replaces the map by its closed-form estimate from the posterior's weights (M-step): one weighted
average of images per grid pose is inserted, however many particles there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.grids import pose_grid
from napari_cryospin.engine.inference.grid import GridSlices, shift_grid
from napari_cryospin.engine.models.backprojection import solve_map
from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.inference.poses import PoseTable

# (frequency radius, nside, repetitions): the lowest frequencies are cheap, and settling there is
# what makes the search find the right structure from any start
_SCHEDULE = (
    (3, 2, 8),
    (4, 2, 6),
    (5, 4, 3),
    (6, 4, 3),
    (7, 4, 2),
    (8, 4, 2),
    (10, 8, 1),
    (13, 8, 1),
)
_COARSE_NSIDE = 4


@dataclass(frozen=True)
class SearchRound:
    """One round of a search: the frequency radius in use and the nside of the pose grid."""

    radius: int
    nside: int


def search_rounds(box: int, nside: int) -> tuple[list[SearchRound], list[SearchRound]]:
    """Return the coarse and the fine rounds of a search, up to what ``nside`` and ``box`` allow.

    The coarse ones decide which structure is found; there are always some of them.
    """
    rounds = [
        SearchRound(radius, grid)
        for radius, grid, repetitions in _SCHEDULE
        if grid <= nside and radius < box // 2
        for _ in range(repetitions)
    ]
    coarse = [round_ for round_ in rounds if round_.nside <= _COARSE_NSIDE]
    return coarse, rounds[len(coarse) :]


@torch.no_grad()
def search_poses(
    stack: WorkingStack,
    grid: Tensor,
    poses: PoseTable,
    round_: SearchRound,
    *,
    shifts: bool,
    rows: Tensor | None = None,
) -> tuple[Tensor, float]:
    """Set every pose to its posterior's best, and estimate the map anew.

    Parameters
    ----------
    stack
        Particles on the training device.
    grid
        Hartley grid (D+1)³ of the map to search with.
    poses
        Updated in place (rotations, and shifts where ``shifts``).
    round_
        Frequency radius and pose grid.
    shifts
        Search shifts within a tenth of the box as well.
    rows
        Particles to use, by default all; the poses of the others stay.

    Returns
    -------
    grid
        New Hartley grid (D+1)³, zero beyond the radius.
    evidence
        Mean over the particles of log Σ exp(log p) over the pose grid, nats: how well the old map
        explains them.
    """
    device = stack.images.device
    model = ImageModel.within(stack.box, round_.radius, device)
    rotations = pose_grid(round_.nside).rotations.to(device)
    slices = GridSlices.of(grid, rotations, model)
    sums = torch.zeros(2, len(rotations), len(model.frequencies), device=device)
    # a quarter of the finest period in use is enough for the coarse steps of a search
    tried = shift_grid(0.1 * stack.box, max(1.0, stack.box / (4 * round_.radius)), device)
    evidence = torch.zeros((), dtype=torch.float64, device=device)
    if rows is None:
        rows = torch.arange(stack.n, device=device)
    for part in rows.split(slices.images_per_block()):
        observed = model.coefficients(stack.images[part])
        ctf = stack.ctf(part, model.frequencies)
        if shifts:
            log_p, best = slices.best_shift(observed, ctf, tried)
            poses.shifts[part] = best
            observed = model.shift(observed, best)
        else:
            log_p = slices.log_probability(observed, ctf)
        poses.rotations[part] = rotations[log_p.argmax(1)]
        evidence += torch.logsumexp(log_p, 1).sum()
        weights = torch.softmax(log_p, 1)
        sums[0].addmm_(weights.T, ctf * observed)
        sums[1].addmm_(weights.T, ctf.square())
    return solve_map(sums, rotations, model), evidence.item() / len(rows)
