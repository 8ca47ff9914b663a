"""The other hand: the mirror image of a map, and the poses that go with it.

The mirror image ``V'(x, y, z) = V(x, y, −z)`` has at the poses ``J A J`` the projections that the
map has at ``A``, with ``J = diag(1, 1, −1)``; origin shifts stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MIRROR = np.diag([1.0, 1.0, -1.0])
HALF_TURN = -MIRROR
"""Half a turn about z: of a map that is inverted, V(−x), a pose A becomes ``HALF_TURN A``."""


def mirrored_poses(rotations: ArrayLike) -> NDArray[np.float64]:
    """Return the poses (..., 3, 3) of the same images in the mirror image of the map."""
    return np.asarray(MIRROR @ np.asarray(rotations, dtype=np.float64) @ MIRROR)


def mirrored_map(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mirror image of a map (z, y, x) about its origin, voxel D // 2 along z."""
    side = volume.shape[0]
    return np.ascontiguousarray(volume[(2 * (side // 2) - np.arange(side)) % side])
