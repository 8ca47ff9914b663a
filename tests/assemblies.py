"""Maps of lumps with the symmetry of a point group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOX = 32


def assembly(name: str, seed: int = 0, *, other: bool = False) -> NDArray[np.float32]:
    """Return a map (D, D, D) on the axes of a group, of unit deviation.

    No lump lies near an axis. With ``other`` one of the subunits has lumps of its own beside.
    """
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(6, 3))
    places *= rng.uniform(4, 9, (6, 1)) / np.linalg.norm(places, axis=1, keepdims=True)
    heights = rng.uniform(0.5, 2, 6)
    group = point_group(name)
    at = np.concatenate([places @ turn.T for turn in group])
    weights = np.tile(heights, len(group))
    if other:
        at = np.concatenate((at, rng.uniform(-8, 8, (4, 3))))
        weights = np.append(weights, np.full(4, 2.0))
    line = np.arange(BOX) - BOX // 2
    x, y, z = line[None, None, :], line[None, :, None], line[:, None, None]
    result = np.zeros((BOX,) * 3)
    for (px, py, pz), height in zip(at, weights, strict=True):
        result += height * np.exp(-((x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2) / 4)
    return (result / result.std()).astype(np.float32)


def turned_away(volume: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Return a map turned at random, and moved from its middle."""
    turn = random_rotations(1, np.random.default_rng(seed))[0]
    return SymmetryFrame(turn, np.array([0.6, -0.5, 0.9]), 1.0).turned(volume)
