"""Which class of a run of several somebody looks at, and its map; classes count from 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.member import MEMBER
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.live_events import PosesUpdated, VolumeUpdated


def number_of_classes(poses: PosesUpdated) -> int:
    """Return how many classes the particles are in."""
    return 1 if poses.class_weights is None else int(poses.class_weights.shape[1])


def in_class(poses: PosesUpdated, number: int) -> NDArray[np.bool_]:
    """Return which particles in use are of a class, (n,); all of them where there is one map."""
    return poses.used if poses.classes is None else poses.used & (poses.classes == number)


def largest_class(poses: PosesUpdated) -> int:
    """Return the class of most of the particles that belong, as results have it."""
    if poses.classes is None:
        return 0
    placed = _where_any(poses.used & np.isfinite(poses.losses), poses.used)
    members = _where_any(placed & (poses.membership >= MEMBER), placed)
    return int(np.bincount(poses.classes[members]).argmax())


def map_of(volume: VolumeUpdated, number: int) -> NDArray[np.float32]:
    """Return the map of a class, (D, D, D).

    Raises
    ------
    InputError
        If it has none: earlier versions wrote no file for a class that nobody was in at the end.
    """
    if number < len(volume.maps):
        found = volume.maps[number]
        if found.any() or not volume.others:
            return found
    raise InputError(f"There is no map of class {number + 1}: no particle has gone into it.")


def _where_any(some: NDArray[np.bool_], others: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return some if some.any() else others
