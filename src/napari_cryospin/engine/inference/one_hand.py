"""The hand of a half-map: both halves of a run must come to the same one.

At the low frequencies that the halves have in common a map may be as its mirror image is: one of
icosahedral symmetry is, whatever its units are, in spherical harmonics of degrees below 15, one of
octahedral symmetry below 9. Each half then takes one hand or the other when it finds its poses.
Inverting a map at the origin, V'(x) = V(−x), leaves every point group as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.hand import HALF_TURN
from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.volume import frequency_radius

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.inference.hypotheses import Hypotheses
    from napari_cryospin.engine.state.pose_table import PoseTable

# maps are of the same structure where shells correlate by so much on average, and of different
# hands where the mirror image does so by so much more
_SAME, _MORE = 0.3, 0.05
_AXES = (-3, -2, -1)
_TINY = 1e-9


def of_other_hand(one: Tensor, other: Tensor, least: int) -> bool:
    """Return whether a map is the mirror image of another one.

    Parameters
    ----------
    one, other
        Back-projected sums, (2, D+1, D+1, D+1) each.
    least
        Frequency radius from which on they are compared, in units of 1/box.
    """
    maps = divide(one), divide(other)
    as_it_is, other_way = (_alike(maps[0], each, least) for each in (maps[1], inverted(maps[1])))
    return other_way > max(_SAME, as_it_is + _MORE)


def inverted(grid: Tensor) -> Tensor:
    """Return Hartley grids (..., D+1, D+1, D+1) of maps inverted at the origin; sums as well."""
    return grid.flip(_AXES)


def take_other_hand(poses: PoseTable, hypotheses: Hypotheses, rows: Tensor, number: int) -> None:
    """Give poses of a map those that the same images have in the inverted map.

    Parameters
    ----------
    poses, hypotheses
        Poses, candidates and hypotheses of all particles.
    rows
        Particles of the half, (m,).
    number
        Class of the map, from 0: poses of other classes stay.
    """
    # in the plane of the image
    turn = torch.from_numpy(HALF_TURN).to(poses.rotations)
    own = rows[poses.classes[rows] == number] if poses.n_classes > 1 else rows
    poses.rotations[own] = turn @ poses.rotations[own]
    candidates = poses.candidate_classes if poses.n_classes > 1 else None
    for rotations, classes in (
        (poses.candidates, candidates),
        (hypotheses.rotations, hypotheses.classes),
    ):
        here = rotations[rows]
        there = torch.ones_like(here[..., 0, 0], dtype=torch.bool)
        if classes is not None:
            there = classes[rows] == number
        rotations[rows] = torch.where(there[..., None, None], turn @ here, here)


def _alike(one: Tensor, other: Tensor, least: int) -> float:
    """Return the mean correlation of two Hartley grids in the shells from a radius on."""
    last = (one.shape[-1] - 1) // 2 - 1
    shell = frequency_radius(one.shape[-1] - 1).to(one.device).flatten()
    inside = (shell >= least) & (shell <= last)
    shell = shell[inside] - least
    a, b = one.flatten()[inside], other.flatten()[inside]
    sums = [torch.bincount(shell, each) for each in (a * b, a * a, b * b)]
    return float((sums[0] / (sums[1] * sums[2]).sqrt().clamp(min=_TINY)).mean())
