"""HEALPix pixels in NEST order: their centres, and the pixel of a direction; and the RING order.

After Górski et al. (2005), in the order of operations of the HEALPix library, so that the numbers
are the same to the last bit. The engine needs these functions alone, so that it runs where no
library for HEALPix is; pictures of the sphere use one (:mod:`.sphere`).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# of each of the twelve faces: its lowest corner, in rings and in eighths of a turn
_RING_OF_FACE = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4])
_TURN_OF_FACE = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7])
# the caps around the poles, where rings get shorter, begin at this height
_CAP = 2 / 3
# nearer to a pole than this, colatitudes are told by their sine
_POLE = 0.99
_POLE_ANGLE = 0.01
_BITS = 16


def angles_of_pixels(
    pixels: NDArray[np.int64], nside: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return colatitude and longitude of the centres of pixels (NEST), radians, (n,) each."""
    face, place = np.divmod(np.asarray(pixels, dtype=np.int64), nside**2)
    x, y = _every_other_bit(place), _every_other_bit(place >> 1)
    ring = _RING_OF_FACE[face] * nside - x - y - 1
    quarter = np.minimum(np.minimum(ring, 4 * nside - ring), nside)
    eighths = (_TURN_OF_FACE[face] * quarter + x - y) % (8 * quarter)
    turn = 0.5 * math.pi / 2 * eighths / quarter
    between = 0.75 * (math.pi / 2) * eighths * (2 * nside * _per_pixel(nside))
    return _colatitudes(nside)[ring], np.where(quarter == nside, between, turn)


def pixels_of_angles(
    colatitude: NDArray[np.float64], longitude: NDArray[np.float64], nside: int
) -> NDArray[np.int64]:
    """Return the pixels (NEST), (n,), of colatitudes and longitudes, radians, (n,) each."""
    z = np.cos(colatitude)
    quarters = np.mod(longitude * (2 / math.pi), 4.0)
    cap = np.abs(z) > _CAP
    result = np.empty(z.shape, dtype=np.int64)
    result[~cap] = _around_the_equator(z[~cap], quarters[~cap], nside)
    result[cap] = _in_the_caps(z[cap], quarters[cap], colatitude[cap], nside)
    return result


@lru_cache(maxsize=8)
def nest_of_ring(nside: int) -> NDArray[np.int64]:
    """Return the NEST numbers of all pixels, (12 nside²,), in RING order: from north, by longitude.

    It also reorders: values in NEST order, indexed with it, are in RING order.
    """
    colatitude, longitude = angles_of_pixels(np.arange(12 * nside**2), nside)
    order = np.lexsort((longitude, colatitude))
    order.setflags(write=False)
    return order


def ring_pixels_near(
    direction: NDArray[np.float64], radius: float, nside: int
) -> NDArray[np.int64]:
    """Return the pixels (RING, ascending) with centres within a radius, degrees, of a direction.

    All pixels are looked at, so it is meant for the levels of a grid over all poses.
    """
    tilt, rot = angles_of_pixels(nest_of_ring(nside), nside)
    across = np.sin(tilt)
    centres = np.stack((across * np.cos(rot), across * np.sin(rot), np.cos(tilt)), -1)
    cosines = centres @ (direction / np.linalg.norm(direction))
    return np.nonzero(cosines >= math.cos(math.radians(radius)))[0]


def _around_the_equator(
    z: NDArray[np.float64], quarters: NDArray[np.float64], nside: int
) -> NDArray[np.int64]:
    along, across = nside * (0.5 + quarters), nside * (z * 0.75)
    rising = (along - across).astype(np.int64)
    falling = (along + across).astype(np.int64)
    up, down = rising // nside, falling // nside
    face = np.where(up == down, up | 4, np.where(up < down, up, down + 8))
    return _pixels(face, falling % nside, nside - rising % nside - 1, nside)


def _in_the_caps(
    z: NDArray[np.float64],
    quarters: NDArray[np.float64],
    colatitude: NDArray[np.float64],
    nside: int,
) -> NDArray[np.int64]:
    quarter = np.minimum(quarters.astype(np.int64), 3)
    share, height = quarters - quarter, np.abs(z)
    near = (colatitude < _POLE_ANGLE) | (colatitude > 3.14159 - _POLE_ANGLE)
    by_sine = nside * np.sin(colatitude) / np.sqrt((1 + height) / 3)
    ring = np.where(near, by_sine, nside * np.sqrt(3 * (1 - height)))
    rising = np.minimum((share * ring).astype(np.int64), nside - 1)
    falling = np.minimum(((1 - share) * ring).astype(np.int64), nside - 1)
    north = z >= 0
    x = np.where(north, nside - falling - 1, rising)
    y = np.where(north, nside - rising - 1, falling)
    return _pixels(np.where(north, quarter, quarter + 8), x, y, nside)


def _pixels(
    face: NDArray[np.int64], x: NDArray[np.int64], y: NDArray[np.int64], nside: int
) -> NDArray[np.int64]:
    """Return the pixels at places x, y of faces: their bits take turns."""
    place = np.zeros_like(x)
    for bit in range(_BITS):
        place |= ((x >> bit & 1) << 2 * bit) | ((y >> bit & 1) << (2 * bit + 1))
    return np.asarray(face * nside**2 + place)


def _every_other_bit(values: NDArray[np.int64]) -> NDArray[np.int64]:
    result = np.zeros_like(values)
    for bit in range(_BITS):
        result |= (values >> 2 * bit & 1) << bit
    return result


def _per_pixel(nside: int) -> float:
    return 4.0 / (12 * nside**2)


def _colatitudes(nside: int) -> NDArray[np.float64]:
    """Return the colatitude of every ring, radians, (4 nside,); there is no ring 0."""
    return np.array([_colatitude(ring, nside) for ring in range(4 * nside)])


def _colatitude(ring: int, nside: int) -> float:
    from_pole = min(ring, 4 * nside - ring)
    if from_pole >= nside:
        return math.acos((2 * nside - ring) * (2 * nside * _per_pixel(nside)))
    below = from_pole**2 * _per_pixel(nside)
    z = 1 - below
    z = z if ring < nside else -z
    if abs(z) <= _POLE:
        return math.acos(z)
    return math.atan2(math.sqrt(below * (2 - below)), z)
