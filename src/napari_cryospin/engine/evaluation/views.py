"""Poses of a whole stack by view direction: how many, and how well each head does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.geometry.sphere import directions_of_pixels, pixels_of_directions

if TYPE_CHECKING:
    from numpy.typing import NDArray

# particles whose pairs of heads are compared at once
_PARTICLES = 4096
# resolutions of maps of views, the finest first, and the share of pixels that must have a direction
_NSIDES, _FILLED = (8, 4, 2), 0.9


def best_of_heads(
    losses: NDArray[np.floating], heads: NDArray[np.integer] | None, n_heads: int
) -> NDArray[np.int64]:
    """Return the place of the best candidate of each head, (n, M); −1 where it has none.

    Parameters
    ----------
    losses
        Losses of candidates, (n, K); NaN where there is none.
    heads
        Head of each, (n, K); None: each is a head of its own.
    n_heads
        Number M of heads.
    """
    n, k = losses.shape
    there = np.isfinite(losses)
    if heads is None:
        return np.where(there, np.arange(k), -1)
    known = np.where(there, losses, np.inf)
    places = np.full((n, n_heads), -1)
    for head in range(n_heads):
        own = np.where(heads == head, known, np.inf)
        best = own.argmin(1)
        places[:, head] = np.where(np.isfinite(own[np.arange(n), best]), best, -1)
    return places


def of_heads(values: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """Return the values, (n, K, …), of the best candidates of the heads, (n, M, …); NaN of none."""
    found = values[np.arange(len(values))[:, None], places]
    found[places < 0] = np.nan
    return found


def candidate_disagreement(candidates: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean angle between the poses of all pairs of heads, degrees.

    Parameters
    ----------
    candidates
        Poses of M heads, shape (n, M, 3, 3); NaN where a head has none.

    Returns
    -------
    ndarray
        Shape (n,); 0 for a single head, NaN where no two have one.
    """
    n, heads = candidates.shape[:2]
    if heads < 2:
        return np.zeros(n)
    there = np.isfinite(candidates).all((2, 3))
    total, pairs = np.zeros(n), np.zeros(n)
    for first in range(heads):
        for second in range(first + 1, heads):
            for start in range(0, n, _PARTICLES):
                part = slice(start, start + _PARTICLES)
                both = there[part, first] & there[part, second]
                angles = angular_distance(candidates[part, first], candidates[part, second])
                total[part] += np.where(both, angles, 0)
                pairs[part] += both
    total[pairs == 0] = np.nan
    return total / np.maximum(pairs, 1)


def views_nside(directions: NDArray[np.floating]) -> int:
    """Return the HEALPix nside, at most 8, at which directions (n, 3) fill a sphere.

    The poses of a marginalisation lie on a grid, and a finer map of them would be dotted.
    """
    distinct = len(np.unique(pixels_of_directions(directions, 2 * _NSIDES[0])))
    fine = (nside for nside in _NSIDES if distinct >= _FILLED * 12 * nside**2)
    return next(fine, _NSIDES[-1])


def counts_per_view(directions: NDArray[np.floating], nside: int) -> NDArray[np.int64]:
    """Return the particles per HEALPix pixel (RING), (12 nside²,), from directions (n, 3)."""
    return np.bincount(pixels_of_directions(directions, nside), minlength=12 * nside**2)


def mean_per_view(
    directions: NDArray[np.floating], values: NDArray[np.floating], nside: int
) -> NDArray[np.float64]:
    """Return the mean of each head's values over the particles of each HEALPix pixel (RING).

    Parameters
    ----------
    directions
        View direction (x, y, z) of each particle, shape (n, 3).
    values
        A value of each particle and head, shape (n, M); NaN is left out.
    nside
        HEALPix nside.

    Returns
    -------
    ndarray
        Shape (M, 12 nside²); NaN where there is no particle.
    """
    pixels, cells = pixels_of_directions(directions, nside), 12 * nside**2
    result = np.full((values.shape[1], cells), np.nan)
    for head, column in enumerate(values.T):
        known = np.isfinite(column)
        count = np.bincount(pixels[known], minlength=cells)
        total = np.bincount(pixels[known], column[known], minlength=cells)
        np.divide(total, count, out=result[head], where=count > 0)
    return result


def winner_per_view(
    directions: NDArray[np.floating], heads: NDArray[np.integer], nside: int
) -> NDArray[np.int64]:
    """Return the head that wins most particles of each HEALPix pixel (RING).

    Parameters
    ----------
    directions
        View direction (x, y, z) of each particle, shape (n, 3).
    heads
        Winning head of each particle, shape (n,); −1 where not seen yet.
    nside
        HEALPix nside.

    Returns
    -------
    ndarray
        Shape (12 nside²,); −1 where no particle is seen from the pixel.
    """
    seen = heads >= 0
    counts = np.zeros((12 * nside**2, int(heads.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(counts, (pixels_of_directions(directions[seen], nside), heads[seen]), 1)
    return np.where(counts.any(axis=1), counts.argmax(axis=1), -1)


def repeated(values: NDArray[np.int64], nside: int) -> NDArray[np.int64]:
    """Return the values of HEALPix pixels (RING) at a finer nside, (12 nside²,)."""
    coarse = math.isqrt(len(values) // 12)
    return np.asarray(values[pixels_of_directions(directions_of_pixels(nside), coarse)])
