"""The map of a symmetric assembly, made of copies of another map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from napari_cryospin.engine.data.assembly import TURN, placement
from napari_cryospin.engine.data.density import SPAN, fit_map
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# weaker density, relative to the strongest, is no part of a molecule
_WEAK = 0.1


def assembled_map(
    volume: NDArray[np.float32],
    own: float,
    group: NDArray[np.float64],
    *,
    box: int,
    pixel_size: float | None,
    path: Path,
) -> tuple[NDArray[np.float32], float]:
    """Return the map of an assembly of copies of a map, (D, D, D), and its Å per pixel.

    Parameters
    ----------
    volume, own
        Map of the molecule, and its Å per voxel.
    group
        Rotations, (g, 3, 3).
    box, pixel_size
        Side and Å per pixel of the result; by default the assembly spans two thirds of the box.
    path
        Where the map is from, for messages.

    Raises
    ------
    InputError
        If the assembly does not fit the box.
    """
    mass = np.where(volume > _WEAK * volume.max(), volume, 0)
    offsets = np.argwhere(mass) - volume.shape[0] // 2
    weights = mass[mass > 0].astype(np.float64)
    centre = np.average(offsets, axis=0, weights=weights)
    squared = ((offsets - centre) ** 2).sum(1)
    place = placement(group, float(np.sqrt(np.average(squared, weights=weights))))
    reach = (float(np.linalg.norm(place)) + float(np.sqrt(squared.max()))) * own
    target = pixel_size or 2 * reach / (SPAN * box)
    if reach / target > box / 2:
        raise InputError(
            f"An assembly of {len(group)} copies of {path} does not fit a box of {box} pixels of "
            f"{target:g} Å: choose a box of at least {2 * int(np.ceil(reach / target))} pixels, or "
            "larger pixels."
        )
    unit = fit_map(np.where(volume > _WEAK * volume.max(), volume, 0), own, box, target)
    spline = scipy.ndimage.spline_filter(unit, order=3, output=np.float32)
    middle, scale = np.full(3, box // 2), own / target
    result = np.zeros((box,) * 3, dtype=np.float32)
    for turn in group:
        # the point r of the assembly is Tᵀ (Sᵀ r − place) + centre of the unit, in (z, y, x)
        matrix = (turn @ TURN).T[::-1, ::-1]
        back = scale * (centre - TURN.T[::-1, ::-1] @ place[::-1])
        offset = middle - matrix @ middle + back
        result += scipy.ndimage.affine_transform(
            spline, matrix, offset, order=3, prefilter=False, mode="constant"
        )
    return result, target
