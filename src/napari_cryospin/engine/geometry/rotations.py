"""Rotations, in one convention.

A pose is RELION's Euler matrix ``A`` (``rlnAngleRot/Tilt/Psi``, intrinsic ZYZ), shape (3, 3): its
first two rows are the x and y axes of the image, its third row is the view direction, all in the
frame of the map, components in (x, y, z). The image coefficient at frequency (kx, ky) is the
map's coefficient at ``(kx, ky, 0) @ A``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

# below this angle (radians, squared) sin(x)/x and its companions are taken from their series
_SMALL_SQUARED = 1e-4


def random_rotations(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return ``n`` rotations drawn uniformly from SO(3), shape (n, 3, 3)."""
    return np.asarray(Rotation.random(n, rng=rng).as_matrix())


def rotation_from_6d(vectors: Tensor) -> Tensor:
    """Return rotations of pairs of 3-vectors (cryoSPIN, Supplement A).

    The two vectors are normalised and orthogonalised; they become the first and the third column.

    Parameters
    ----------
    vectors
        Shape (..., 6).

    Returns
    -------
    Tensor
        Shape (..., 3, 3).
    """
    first = torch.nn.functional.normalize(vectors[..., :3], dim=-1)
    rest = vectors[..., 3:]
    third = rest - (first * rest).sum(-1, keepdim=True) * first
    third = torch.nn.functional.normalize(third, dim=-1)
    second = torch.linalg.cross(third, first)
    return torch.stack((first, second, third), dim=-1)


def exponential_map(omega: Tensor) -> Tensor:
    """Return ``exp([ω]×)``, stable and differentiable at ω = 0.

    Parameters
    ----------
    omega
        Rotation vectors, radians, shape (..., 3).

    Returns
    -------
    Tensor
        Shape (..., 3, 3).
    """
    squared = (omega * omega).sum(-1)
    small = squared < _SMALL_SQUARED
    # the root is taken of a harmless number where the series is used: its gradient would be NaN
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    a = torch.where(small, 1 - squared / 6 + squared**2 / 120, torch.sin(angle) / angle)
    b = torch.where(small, 0.5 - squared / 24 + squared**2 / 720, (1 - torch.cos(angle)) / angle**2)
    cross = skew(omega)
    identity = torch.eye(3, dtype=omega.dtype, device=omega.device)
    return identity + a[..., None, None] * cross + b[..., None, None] * (cross @ cross)


def skew(omega: Tensor) -> Tensor:
    """Return the matrices ``[ω]×``, shape (..., 3, 3), of vectors of shape (..., 3)."""
    x, y, z = omega.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(*omega.shape[:-1], 3, 3)


@overload
def angular_distance(a: Tensor, b: Tensor, group: Tensor | None = None) -> Tensor: ...


@overload
def angular_distance(
    a: ArrayLike, b: ArrayLike, group: ArrayLike | None = None
) -> NDArray[np.float64]: ...


def angular_distance(a: Any, b: Any, group: Any = None) -> Any:
    """Return the angle of the rotation between two poses, degrees.

    Parameters
    ----------
    a, b
        Euler matrices, (..., 3, 3): of tensors the angle is a tensor, of others an array.
    group
        Turns of the map that leave it as it is, the identity among them, (g, 3, 3): the angle is
        that to the nearest of a pose's mates. By default there are none.

    Returns
    -------
    Tensor or ndarray
        Degrees, 0 to 180, shape (...).
    """
    if group is not None and len(group) > 1:
        angles = [angular_distance(a, b @ turn) for turn in group]
        return torch.stack(angles).amin(0) if isinstance(a, torch.Tensor) else np.min(angles, 0)
    # from the chord, not the trace: the arccosine of the trace loses the small angles
    if isinstance(a, torch.Tensor):
        chord = (a - b).square().sum((-1, -2)).sqrt()
        return torch.rad2deg(2 * torch.arcsin((chord / math.sqrt(8)).clamp(max=1)))
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    chord = np.sqrt(((a - b) ** 2).sum((-1, -2)))
    angle = 2 * np.arcsin(np.clip(chord / np.sqrt(8), 0, 1))
    return np.asarray(np.degrees(angle), dtype=np.float64)
