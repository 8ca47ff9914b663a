"""The gnomonic map around a view direction: a patch of the sphere as seen from its centre.

Map coordinates are degrees from the centre: x grows with ``rot``, y towards smaller ``tilt``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.geometry.sphere import pixels_of_directions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SIDE = 120


def axes_at(direction: ArrayLike) -> NDArray[np.float64]:
    """Return the map's axes at a unit direction (x, y, z): rows east, north, outwards, (3, 3)."""
    outwards = np.asarray(direction, dtype=np.float64)
    east = np.cross((0, 0, 1), outwards)
    if np.linalg.norm(east) < 1e-9:
        east = np.array([0.0, 1.0, 0.0])
    east = east / np.linalg.norm(east)
    return np.stack((east, np.cross(outwards, east), outwards))


def project(
    directions: NDArray[np.floating], centre: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return map coordinates (degrees) of directions (..., 3); NaN behind the sphere's edge."""
    x, y, z = np.moveaxis(np.asarray(directions, dtype=np.float64) @ axes_at(centre).T, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(z > 0.05, np.degrees(1) / z, np.nan)
    return x * scale, y * scale


def unproject(x: ArrayLike, y: ArrayLike, centre: ArrayLike) -> NDArray[np.float64]:
    """Return unit directions (..., 3) of map points in degrees."""
    x, y = np.broadcast_arrays(np.radians(np.asarray(x)), np.radians(np.asarray(y)))
    local = np.stack((x, y, np.ones_like(x)), -1)
    local /= np.linalg.norm(local, axis=-1, keepdims=True)
    return np.asarray(local @ axes_at(centre))


def patch(
    pixels: NDArray[np.int64],
    probability: NDArray[np.float64],
    nside: int,
    centre: ArrayLike,
    radius: float,
) -> NDArray[np.float64]:
    """Return probabilities of directions on a square patch, (SIDE, SIDE); row 0 is the bottom.

    Parameters
    ----------
    pixels, probability
        HEALPix pixels (NEST, ascending) with a probability each; 0 elsewhere.
    nside
        Their nside.
    centre
        Direction of the middle of the patch.
    radius
        Half the side of the patch, degrees.
    """
    line = (np.arange(SIDE) + 0.5) / SIDE * 2 * radius - radius
    directions = unproject(*np.meshgrid(line, line), centre).reshape(-1, 3)
    wanted = pixels_of_directions(directions, nside, nest=True)
    place = np.minimum(np.searchsorted(pixels, wanted), len(pixels) - 1)
    found = np.where(pixels[place] == wanted, probability[place], 0.0)
    return np.asarray(found.reshape(SIDE, SIDE))
