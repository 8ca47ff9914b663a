"""Grids of poses: HEALPix view directions × in-plane rotations (Hopf coordinates)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.rotations import matrices_from_euler

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class PoseGrid:
    """Every view direction of a HEALPix grid with every in-plane rotation.

    Parameters
    ----------
    nside
        HEALPix nside; there are ``12 nside²`` directions, in RING order.
    n_psi
        Number of in-plane rotations per direction.
    rotations
        Euler matrices, shape (12 nside² · n_psi, 3, 3), the in-plane rotation varying fastest.
    """

    nside: int
    n_psi: int
    rotations: Tensor

    @property
    def n_directions(self) -> int:
        """Number of view directions."""
        return 12 * self.nside**2

    @property
    def spacing(self) -> float:
        """Mean distance between neighbouring view directions, degrees."""
        return math.degrees(math.sqrt(4 * math.pi / self.n_directions))


@lru_cache(maxsize=4)
def pose_grid(nside: int, n_psi: int | None = None) -> PoseGrid:
    """Return the pose grid of a HEALPix nside.

    Parameters
    ----------
    nside
        A power of two.
    n_psi
        In-plane rotations; by default ``6 nside``, which spaces them like the directions.
    """
    import healpy

    n_psi = n_psi or 6 * nside
    tilt, rot = healpy.pix2ang(nside, np.arange(12 * nside**2))
    angles = np.empty((len(rot), n_psi, 3))
    angles[..., 0] = np.degrees(rot)[:, None]
    angles[..., 1] = np.degrees(tilt)[:, None]
    angles[..., 2] = np.arange(n_psi) * (360 / n_psi)
    matrices = matrices_from_euler(angles.reshape(-1, 3))
    return PoseGrid(nside, n_psi, torch.from_numpy(matrices).float())


def directions_of(rotations: NDArray[np.floating], nside: int) -> NDArray[np.int64]:
    """Return the HEALPix pixel (RING) of the view direction of each pose, shape (...)."""
    import healpy

    view = np.asarray(rotations, dtype=np.float64)[..., 2, :]
    return np.asarray(healpy.vec2pix(nside, view[..., 0], view[..., 1], view[..., 2]))
