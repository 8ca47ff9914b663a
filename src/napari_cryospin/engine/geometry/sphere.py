"""HEALPix pixels for pictures of the sphere, in RING order where nothing else is said.

By healpy where it is installed, else by astropy-healpix, which has the same functions: healpy has
no wheels for Windows. Either takes a moment to be imported: first called off the GUI thread.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cryospin.engine.packages import require_packages

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LIBRARIES = ("healpy", "astropy_healpix")


@lru_cache(maxsize=1)
def healpix_library() -> Any:
    """Return the module with healpy's functions.

    Raises
    ------
    MissingPackage
        If neither library is installed.
    """
    with suppress(ImportError):
        return import_module("healpy")
    require_packages("Pictures of the sphere need", LIBRARIES)
    return import_module("astropy_healpix.healpy")


def angles_of_pixels(
    pixels: ArrayLike, nside: int, *, nest: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return colatitude and longitude (0 to 2π) of the centres of pixels, radians, (n,) each."""
    tilt, rot = healpix_library().pix2ang(nside, pixels, nest=nest)
    return np.asarray(tilt), np.asarray(rot)


def pixels_of_angles(tilt: ArrayLike, rot: ArrayLike, nside: int) -> NDArray[np.int64]:
    """Return the pixels, (n,), of colatitudes and longitudes, radians, (n,) each."""
    return np.asarray(healpix_library().ang2pix(nside, tilt, rot))


def directions_of_pixels(nside: int) -> NDArray[np.float64]:
    """Return the unit vectors (x, y, z) of the centres of all pixels, (12 nside², 3)."""
    return np.stack(healpix_library().pix2vec(nside, np.arange(12 * nside**2)), axis=1)


def pixels_of_directions(
    directions: NDArray[np.floating], nside: int, *, nest: bool = False
) -> NDArray[np.int64]:
    """Return the pixels, (n,), of directions (x, y, z), (n, 3)."""
    columns = np.asarray(directions, dtype=np.float64).T
    return np.asarray(healpix_library().vec2pix(nside, *columns, nest=nest))


def corners_of_pixels(nside: int) -> NDArray[np.float64]:
    """Return the corners of all pixels, unit vectors in order around each, (12 nside², 4, 3)."""
    corners = healpix_library().boundaries(nside, np.arange(12 * nside**2), step=1)
    return np.ascontiguousarray(np.moveaxis(corners, 1, 2))
