"""Euler matrices of RELION's angles, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# rotations that are taken at a time: python's other threads wait for each part
_PART = 10_000


def matrices_from_euler(angles: ArrayLike) -> NDArray[np.float64]:
    """Return Euler matrices of RELION angles.

    Parameters
    ----------
    angles
        ``rlnAngleRot, rlnAngleTilt, rlnAnglePsi`` in degrees, shape (..., 3).

    Returns
    -------
    ndarray
        Shape (..., 3, 3).
    """
    angles = np.asarray(angles, dtype=np.float64)
    flat = angles.reshape(-1, 3)
    matrices = np.empty((len(flat), 3, 3))
    for start in range(0, len(flat), _PART):
        _fill(matrices[start : start + _PART], np.radians(flat[start : start + _PART].T))
    return matrices.reshape(*angles.shape[:-1], 3, 3)


def _fill(matrices: NDArray[np.float64], angles: NDArray[np.float64]) -> None:
    """Write the matrices, shape (n, 3, 3), of angles in radians, shape (3, n)."""
    (sin_rot, sin_tilt, sin_psi), (cos_rot, cos_tilt, cos_psi) = np.sin(angles), np.cos(angles)
    matrices[:, 0, 0] = cos_psi * cos_tilt * cos_rot - sin_psi * sin_rot
    matrices[:, 0, 1] = cos_psi * cos_tilt * sin_rot + sin_psi * cos_rot
    matrices[:, 0, 2] = -cos_psi * sin_tilt
    matrices[:, 1, 0] = -sin_psi * cos_tilt * cos_rot - cos_psi * sin_rot
    matrices[:, 1, 1] = -sin_psi * cos_tilt * sin_rot + cos_psi * cos_rot
    matrices[:, 1, 2] = sin_psi * sin_tilt
    matrices[:, 2, 0] = sin_tilt * cos_rot
    matrices[:, 2, 1] = sin_tilt * sin_rot
    matrices[:, 2, 2] = cos_tilt


def euler_from_matrices(matrices: ArrayLike) -> NDArray[np.float64]:
    """Return RELION angles of Euler matrices.

    Parameters
    ----------
    matrices
        Shape (..., 3, 3).

    Returns
    -------
    ndarray
        ``rlnAngleRot, rlnAngleTilt, rlnAnglePsi`` in degrees, shape (..., 3).
    """
    from scipy.spatial.transform import Rotation

    matrices = np.asarray(matrices, dtype=np.float64)
    flat = matrices.reshape(-1, 3, 3)
    angles = np.empty((len(flat), 3))
    for start in range(0, len(flat), _PART):
        part = slice(start, start + _PART)
        turned = Rotation.from_matrix(np.swapaxes(flat[part], 1, 2))
        angles[part] = turned.as_euler("ZYZ", degrees=True, suppress_warnings=True)
    return angles.reshape(*matrices.shape[:-2], 3)
