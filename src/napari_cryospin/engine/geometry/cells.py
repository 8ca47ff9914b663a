"""Cells of the space of poses, each of which splits into eight: HEALPix pixels × in-plane angles.

A cell of the level ``nside`` is a HEALPix pixel (NEST order) with one of ``6 nside`` equal
intervals of the in-plane angle; its number is ``pixel · 6 nside + interval``. All cells of a level
have the same volume in SO(3), and their centres stand for them. A pixel splits in four and an
interval in two, as in RELION's adaptive oversampling.

The in-plane angle is ``rlnAnglePsi`` in the faces of HEALPix around the equator. In the polar faces
it is ``psi ± rot``: there ``rot`` turns quickly from pose to pose, and cells of ``psi`` alone would
be slanted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.geometry.euler import euler_from_matrices, matrices_from_euler
from napari_cryospin.engine.geometry.healpix import angles_of_pixels, pixels_of_angles

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEIGHBOURS = 27
# poses within this angle are in one mode, degrees
SAME_MODE = 30.0


def n_in_plane(nside: int) -> int:
    """Return the number of in-plane intervals of a level: they are spaced like the directions."""
    return 6 * nside


def n_cells(nside: int) -> int:
    """Return the number of cells of a level."""
    return 12 * nside**2 * n_in_plane(nside)


def spacing(nside: int) -> float:
    """Return the mean distance between neighbouring view directions of a level, degrees."""
    return float(np.degrees(np.sqrt(4 * np.pi / (12 * nside**2))))


def separation(nside: int) -> float:
    """Return the angle below which two peaks on a level are one mode, degrees."""
    return 2.7 * spacing(nside)


def children(cells: NDArray[np.int64], nside: int) -> NDArray[np.int64]:
    """Return the eight cells of the level ``2 nside`` in each cell, shape (n, 8).

    Cells that are numbered on from map to map have children that are.
    """
    pixels, intervals = np.divmod(cells, n_in_plane(nside))
    pixels = 4 * pixels[:, None, None] + np.arange(4)[:, None]
    intervals = 2 * intervals[:, None, None] + np.arange(2)
    return np.asarray((pixels * n_in_plane(2 * nside) + intervals).reshape(len(cells), 8))


def ancestors(cells: NDArray[np.int64], nside: int, coarse: int) -> NDArray[np.int64]:
    """Return the cell of the level ``coarse`` in which each cell of a finer level lies."""
    ratio = nside // coarse
    pixels, intervals = np.divmod(cells, n_in_plane(nside))
    return np.asarray(pixels // ratio**2 * n_in_plane(coarse) + intervals // ratio)


def angles_of_cells(cells: NDArray[np.int64], nside: int) -> NDArray[np.float64]:
    """Return rot, tilt and psi (0 to 360) of the centres of cells, degrees, shape (n, 3)."""
    pixels, intervals = np.divmod(cells, n_in_plane(nside))
    tilt, rot = (np.degrees(angle) for angle in angles_of_pixels(pixels, nside))
    psi = (intervals + 0.5) * (360 / n_in_plane(nside)) - _turn(pixels, nside) * rot
    return np.stack((rot, tilt, psi % 360), -1)


def rotations_of_cells(cells: NDArray[np.int64], nside: int) -> NDArray[np.float64]:
    """Return the Euler matrices of the centres of cells, shape (n, 3, 3)."""
    return matrices_from_euler(angles_of_cells(cells, nside))


def cells_of_rotations(rotations: NDArray[np.floating], nside: int) -> NDArray[np.int64]:
    """Return the cell in which each pose (n, 3, 3) lies, shape (n,)."""
    rot, tilt, psi = euler_from_matrices(rotations).T
    pixels = pixels_of_angles(np.radians(tilt), np.radians(rot), nside)
    in_plane = (psi + _turn(pixels, nside) * rot) % 360
    intervals = (in_plane / 360 * n_in_plane(nside)).astype(np.int64) % n_in_plane(nside)
    return np.asarray(pixels * n_in_plane(nside) + intervals)


@lru_cache(maxsize=4)
def neighbours(nside: int) -> NDArray[np.int64]:
    """Return the nearest 27 cells of every cell, itself the first, shape (n_cells, 27)."""
    from scipy.spatial import cKDTree
    from scipy.spatial.transform import Rotation

    cells = np.arange(n_cells(nside))
    quaternions = Rotation.from_matrix(rotations_of_cells(cells, nside)).as_quat()
    # q and −q are one rotation
    tree = cKDTree(np.concatenate((quaternions, -quaternions)))
    _, found = tree.query(quaternions, k=_NEIGHBOURS)
    return np.asarray(found % len(cells))


def _turn(pixels: NDArray[np.int64], nside: int) -> NDArray[np.int64]:
    """Return what ``rot`` adds to the in-plane angle: 1, 0 or −1 by the face of HEALPix."""
    return np.asarray(1 - pixels // nside**2 // 4)
