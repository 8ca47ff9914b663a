"""A made-up protein-like molecule, so that the package can show itself without anybody's data."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.density import density_from_points

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# share of the box that the molecule spans
_SPAN = 0.66
# an α-helix: Å per residue along the axis, radius of the Cα spiral, radians per residue
_RISE, _RADIUS, _TURN = 1.5, 2.3, np.radians(100)


def procedural_molecule(box: int, pixel_size: float) -> NDArray[np.float32]:
    """Return the density of an asymmetric, chiral molecule: an anchor made of helices and globules.

    An open ring of helices of growing length carries a bent stalk that ends in a large globule; an
    arm with a small globule leaves the stalk to one side.

    Parameters
    ----------
    box
        Side of the map, pixels.
    pixel_size
        Å per pixel; the molecule spans two thirds of the box whatever it is.

    Returns
    -------
    ndarray
        Shape (D, D, D), (z, y, x).
    """
    beads = _beads()
    beads -= beads.mean(0)
    span = 2 * np.linalg.norm(beads, axis=1).max()
    beads *= _SPAN * box * pixel_size / span
    return density_from_points(
        beads, np.ones(len(beads)), box=box, pixel_size=pixel_size, sigma=0.6 * pixel_size
    )


def _beads() -> NDArray[np.float64]:
    """Return Cα-like positions (x, y, z), Å."""
    parts = []
    for i in range(7):
        angle = np.radians(-130 + 42 * i)
        foot = np.array([26 * np.cos(angle), 26 * np.sin(angle), 0.0])
        parts.append(_helix(foot, foot * 0.9 + np.array([0, 0, 14.0 + 5.0 * i])))
    bend = np.array([[6.0, 0, 12], [0, 4, 34], [-8, 2, 56], [-20, -6, 74]])
    parts += [_helix(a, b) for a, b in itertools.pairwise(bend)]
    near, far = np.array([5.0, 7, 0]), np.array([7.0, 5, 0])
    parts += [_helix(a + near, b + far) for a, b in itertools.pairwise(bend)]
    parts.append(_globule(np.array([-26.0, -10, 88]), 17.0, 210, seed=1))
    parts.append(_helix(np.array([-4.0, 6, 50]), np.array([22.0, 28, 62])))
    parts.append(_globule(np.array([30.0, 34, 66]), 9.5, 70, seed=2))
    parts.append(_globule(np.array([20.0, -24, -10]), 11.0, 90, seed=3))
    return np.concatenate(parts)


def _helix(start: ArrayLike, end: ArrayLike) -> NDArray[np.float64]:
    """Return an α-helix between two points."""
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    length = float(np.linalg.norm(end - start))
    axis = (end - start) / length
    side = np.cross(axis, [0.3, -0.5, 0.8])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    along = np.arange(0, length, _RISE)
    turn = along / _RISE * _TURN
    spiral = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * other
    return np.asarray(start + along[:, None] * axis + _RADIUS * spiral)


def _globule(centre: NDArray[np.float64], radius: float, n: int, seed: int) -> NDArray[np.float64]:
    """Return points packed evenly at random in a sphere."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return centre + radius * np.cbrt(rng.random((n, 1))) * direction
