"""Preferred views: poses whose view directions fill a cap or a belt of the sphere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.nuisances import Views
from napari_cryospin.engine.geometry.euler import matrices_from_euler

if TYPE_CHECKING:
    from numpy.typing import NDArray


def preferred_rotations(
    n: int, views: Views, angle: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return poses with view directions even over a cap or a belt, shape (n, 3, 3).

    Parameters
    ----------
    n
        Number of poses.
    views
        Cap: within ``angle`` of the z axis. Belt: within ``angle`` of the equator.
    angle
        Degrees.
    rng
        Where the random numbers come from.
    """
    radians = np.radians(angle)
    if views == Views.CAP:
        lowest, highest = np.cos(min(radians, np.pi)), 1.0
    else:
        highest = np.sin(min(radians, np.pi / 2))
        lowest = -highest
    tilt = np.degrees(np.arccos(rng.uniform(lowest, highest, n)))
    rot, psi = rng.uniform(-180, 180, (2, n))
    return matrices_from_euler(np.stack([rot, tilt, psi], -1))
