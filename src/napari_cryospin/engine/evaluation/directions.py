"""How evenly a map is known in all directions: conical FSC, and how views sample Fourier space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import scipy.fft

from napari_cryospin.engine.evaluation.fsc import frequency_shells
from napari_cryospin.engine.geometry.healpix import angles_of_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

# level of the directions that are looked along, of which one half are others than the rest
# turned round; half of the angle of a cone, degrees
_NSIDE, _HALF_ANGLE = 4, 20.0
# level of the points of Fourier space that views sample, and views at once
_FINE, _AT_ONCE = 16, 2000
# frequencies of a large map that are looked at
_MOST = 400_000
# a slice is one frequency thick: its sampling is told for this share of Nyquist
_RADIUS_SHARE = 0.5
_TINY = 1e-9
# below both of these preferred orientation limits the map: side views alone sample by the second
LEAST_RATIO, LEAST_SAMPLING = 0.5, 0.81
ONE_UNIT = 0.1
"""Views that sample a map worse than this are of one side, or of a unit of a symmetric molecule."""


@dataclass(frozen=True)
class Directions:
    """How evenly a map is known.

    Parameters
    ----------
    curves
        FSC of two half-maps in cones around directions, (d, D/2 + 1).
    sampling
        Sampling compensation factor of the views: 1 where they are uniform, 0.81 of side views
        alone, 0 where much is not seen.
    """

    curves: NDArray[np.float64]
    sampling: float

    @property
    def ratio(self) -> float:
        """Area under the lowest conical FSC over that under the highest (cFAR), 0 to 1."""
        areas = np.clip(self.curves[:, 1:], 0, None).sum(1)
        return float(areas.min() / areas.max()) if areas.max() > 0 else 0.0

    @property
    def limited(self) -> bool:
        """Whether preferred orientation limits the map."""
        return self.ratio < LEAST_RATIO and self.sampling < LEAST_SAMPLING

    @classmethod
    def of(
        cls,
        one: NDArray[np.float32],
        two: NDArray[np.float32],
        rotations: NDArray[np.floating],
        group: NDArray[np.floating],
    ) -> Self:
        """Return how evenly half-maps (D, D, D) are known, with the poses of their particles.

        Poses are (n, 3, 3), the point group of the map (g, 3, 3).
        """
        return cls(conical_fsc(one, two), sampling_of(rotations, group, len(one)))


def cone_directions() -> NDArray[np.float64]:
    """Return the directions that conical FSCs are told along, (d, 3), one of each pair."""
    found = _pixel_directions(_NSIDE)
    x, y, z = found.T
    level = np.abs(z) < _TINY
    upper = (~level & (z > 0)) | (level & ((y > _TINY) | ((np.abs(y) < _TINY) & (x > 0))))
    return np.asarray(found[upper])


def conical_fsc(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the FSC of two maps (D, D, D) in cones of 20° around directions, (d, D/2 + 1)."""
    box = len(one)
    spectra = [scipy.fft.fftn(each.astype(np.float64)).ravel() for each in (one, two)]
    shells = frequency_shells(box).ravel()
    k = np.fft.fftfreq(box, 1 / box)
    z, y, x = np.meshgrid(k, k, k, indexing="ij")
    # of a real map one half tells all
    half = (shells > 0) & (shells <= box // 2) & ((z > 0) | ((z == 0) & (y >= 0))).ravel()
    chosen = np.flatnonzero(half)
    if len(chosen) > _MOST:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, _MOST, replace=False))
    at = np.stack([each.ravel()[chosen] for each in (x, y, z)], 1)
    at /= np.linalg.norm(at, axis=1, keepdims=True)
    a, b, own = spectra[0][chosen], spectra[1][chosen], shells[chosen]
    values = np.stack(((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2))
    limit, n = math.cos(math.radians(_HALF_ANGLE)), box // 2 + 1
    curves = []
    for direction in cone_directions():
        inside = np.abs(at @ direction) >= limit
        cross, first, second = (
            np.bincount(own[inside], value[inside], minlength=n) for value in values
        )
        power = np.sqrt(first * second)
        curves.append(np.divide(cross, power, out=np.ones(n), where=power > 0))
    return np.array(curves)


def sampling_of(rotations: NDArray[np.floating], group: NDArray[np.floating], box: int) -> float:
    """Return the sampling compensation factor of particles at half of Nyquist.

    Poses are (n, 3, 3), the point group of the map (g, 3, 3): of a symmetric molecule each particle
    is seen from as many sides as it has mates.
    """
    views = (rotations[:, None, 2:] @ group).reshape(-1, 3)
    return sampling_factor(views, max(_RADIUS_SHARE * box / 2, 1.0))


def sampling_factor(views: NDArray[np.float64], radius: float) -> float:
    """Return the sampling compensation factor of views (Baldwin and Lyumkis 2020).

    The harmonic mean of how often views sample the directions of Fourier space, over the plain one
    of uniform views. What no view samples counts as sampled once.

    Parameters
    ----------
    views
        View directions, (n, 3).
    radius
        Frequency radius that it is told for, in units of 1/box: a slice samples what lies within
        half a unit of it.
    """
    # of a direction and its opposite one is enough
    points = _pixel_directions(_FINE)
    points = points[points[:, 2] >= 0]
    sampled = np.zeros(len(points))
    for part in range(0, len(views), _AT_ONCE):
        near = np.abs(points @ views[part : part + _AT_ONCE].T) <= 1 / (2 * radius)
        sampled += near.sum(1)
    uniform = len(views) / (2 * radius)
    return float(1 / np.mean(uniform / np.maximum(sampled, 1)))


def _pixel_directions(nside: int) -> NDArray[np.float64]:
    """Return the directions of all pixels of a level, (12 nside², 3)."""
    colatitude, longitude = angles_of_pixels(np.arange(12 * nside**2), nside)
    across = np.sin(colatitude)
    return np.stack((across * np.cos(longitude), across * np.sin(longitude), np.cos(colatitude)), 1)
