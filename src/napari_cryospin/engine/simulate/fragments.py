"""Pieces of a molecule, and how large it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECES = 3
# share of the mass within the radius of a molecule
_WITHIN = 0.95
# density relative to the strongest
_WEAK = 0.1


def fragment(volume: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a piece of about a third of a molecule, in the middle of the box, shape (D, D, D).

    The molecule falls apart along the planes between three of its points.
    """
    mass = _mass(volume).ravel()
    chosen = rng.choice(len(mass), _PIECES, replace=False, p=mass / mass.sum())
    seeds = np.stack(np.unravel_index(chosen, volume.shape), -1)
    axes = np.indices(volume.shape, dtype=np.float32)
    squared = np.stack([sum((axes[i] - seed[i]) ** 2 for i in range(3)) for seed in seeds])
    nearest = squared.argmin(0)
    shares = np.bincount(nearest.ravel(), mass, _PIECES) / mass.sum()
    kept = int(np.abs(shares - 1 / _PIECES).argmin())
    # soft over about two pixels: the planes lie where the difference of the squares is 0
    others = np.delete(squared, kept, 0).min(0)
    apart = min(float(np.linalg.norm(s - seeds[kept])) for s in np.delete(seeds, kept, 0)) + 1
    soft = 1 / (1 + np.exp(np.clip((squared[kept] - others) / apart, -50, 50)))
    piece = volume * soft
    return centred_on_mass(np.asarray(piece, dtype=np.float32))


def radius_of(volume: NDArray[np.float32]) -> float:
    """Return the radius about the box centre that holds 95 % of the positive density, voxels."""
    centre = volume.shape[0] // 2
    line = np.arange(volume.shape[0]) - centre
    squared = line[:, None, None] ** 2 + line[:, None] ** 2 + line**2
    sums = np.cumsum(np.bincount(squared.ravel(), _mass(volume).ravel()))
    if not sums[-1] > 0:
        return float(centre * 2 / 3)
    return float(np.sqrt(np.searchsorted(sums, _WITHIN * sums[-1])))


def centred_on_mass(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map moved by whole voxels such that its centre of mass is in the middle."""
    mass = _mass(volume)
    line = np.arange(volume.shape[0]) - volume.shape[0] // 2
    sums = (mass.sum(tuple(a for a in range(3) if a != axis)) for axis in range(3))
    total = float(mass.sum()) or 1.0
    offset = [-round(float(line @ each) / total) for each in sums]
    return np.roll(volume, offset, (0, 1, 2))


def _mass(volume: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the density without what is weak: that is around a molecule, not of it."""
    return np.where(volume > _WEAK * volume.max(), volume, 0).astype(np.float64)
