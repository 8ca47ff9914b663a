"""Symmetric assemblies made of copies of one molecule.

The molecule is turned by one fixed rotation, so that an axis of its own does not fall on one of the
assembly's. Its centre of mass lies in the direction whose symmetric
copies are farthest from each other, at the distance at which nearest neighbours touch if each is
taken for a solid sphere of the molecule's radius of gyration: for long molecules they overlap a
little. Axes are RELION's (:func:`napari_cryospin.engine.geometry.symmetry.point_group`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.geometry.euler import matrices_from_euler

if TYPE_CHECKING:
    from numpy.typing import NDArray

# directions that are tried
_DIRECTIONS = 2000
# radius of a solid sphere over its radius of gyration
_SOLID = np.sqrt(5 / 3)

# how a molecule is turned: along no axis of any group
TURN = matrices_from_euler((31.0, 47.0, 71.0))


def placement(group: NDArray[np.float64], radius_of_gyration: float) -> NDArray[np.float64]:
    """Return where the centre of a molecule lies in its assembly, (x, y, z).

    Parameters
    ----------
    group
        Rotations, (g, 3, 3), the identity first or anywhere.
    radius_of_gyration
        Of the molecule; the result is in its unit.
    """
    others = group[np.abs(group - np.eye(3)).max((1, 2)) > 1e-6]
    if not len(others):
        return np.zeros(3)
    directions = _directions()
    turned = np.einsum("gij,nj->gni", others, directions)
    nearest = np.linalg.norm(turned - directions, axis=-1).min(0)
    best = int(nearest.argmax())
    return np.asarray(directions[best] * 2 * _SOLID * radius_of_gyration / nearest[best])


def assembled(
    points: NDArray[np.float64], weights: NDArray[np.float64], group: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points (x, y, z) about the centre, (g n, 3), and weights of an assembly of n points.

    A group of one rotation, the identity, leaves the points as they are.

    Parameters
    ----------
    points
        About their centre of mass, (n, 3).
    weights
        Shape (n,).
    group
        Rotations, (g, 3, 3).
    """
    gyration = np.sqrt(np.average((points**2).sum(1), weights=weights))
    moved = points @ TURN.T + placement(group, float(gyration))
    return np.concatenate([moved @ turn.T for turn in group]), np.tile(weights, len(group))


def _directions() -> NDArray[np.float64]:
    """Return the x axis, and directions spread evenly over the sphere, (n, 3)."""
    index = np.arange(_DIRECTIONS) + 0.5
    z = 1 - 2 * index / _DIRECTIONS
    angle = np.pi * (1 + np.sqrt(5)) * index
    flat = np.sqrt(1 - z**2)
    spread = np.stack([flat * np.cos(angle), flat * np.sin(angle), z], -1)
    return np.concatenate([[[1.0, 0, 0]], spread])
