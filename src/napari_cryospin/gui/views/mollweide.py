"""The Mollweide map of view directions: where a direction is drawn, and which one is where.

Map coordinates are x in −2..2 and y in −1..1. Longitude is ``rlnAngleRot`` (0 in the middle,
growing to the right), latitude is 90° − ``rlnAngleTilt``: the direction +z is at the top.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.geometry import sphere

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

HEIGHT = 240
WIDTH = 2 * HEIGHT


def project(rot: ArrayLike, tilt: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return map coordinates x and y of directions given by rot and tilt in degrees."""
    longitude = (np.radians(np.asarray(rot, dtype=np.float64)) + np.pi) % (2 * np.pi) - np.pi
    latitude = np.pi / 2 - np.radians(np.asarray(tilt, dtype=np.float64))
    theta = _auxiliary_angle(latitude)
    return 2 * longitude / np.pi * np.cos(theta), np.sin(theta)


def unproject(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rot (−180..180) and tilt (0..180) in degrees of map points; NaN outside the map."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        theta = np.arcsin(y)
        latitude = np.arcsin((2 * theta + np.sin(2 * theta)) / np.pi)
        longitude = np.pi * x / (2 * np.cos(theta))
        outside = ~(np.abs(longitude) <= np.pi)
    rot = np.where(outside, np.nan, np.degrees(longitude))
    return rot, np.where(outside, np.nan, 90 - np.degrees(latitude))


def angles_of(directions: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rot and tilt in degrees of view directions (x, y, z), shape (..., 3)."""
    x, y, z = np.moveaxis(np.asarray(directions, dtype=np.float64), -1, 0)
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(np.hypot(x, y), z))


def direction_of(rot: float, tilt: float) -> NDArray[np.float64]:
    """Return the view direction (x, y, z) of rot and tilt in degrees."""
    rot, tilt = np.radians(rot), np.radians(tilt)
    return np.array([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)])


def angles_of_pixels(
    nside: int, pixels: NDArray[np.int64] | None = None, *, nest: bool = False
) -> dict[str, NDArray[np.float64]]:
    """Return columns of rot and tilt, degrees, of HEALPix pixels, by default of all of them."""
    pixels = np.arange(12 * nside**2) if pixels is None else pixels
    tilt, rot = sphere.angles_of_pixels(pixels, nside, nest=nest)
    return {"rot_deg": np.degrees(rot), "tilt_deg": np.degrees(tilt)}


@lru_cache(maxsize=4)
def index_table(nside: int, height: int = HEIGHT) -> NDArray[np.int64]:
    """Return the HEALPix pixel (RING) shown at each pixel of the map image; −1 outside.

    Shape (height, 2 height); row 0 is the bottom. Imports healpy: first called off the GUI thread.
    """
    width = 2 * height
    x = (np.arange(width) + 0.5) / width * 4 - 2
    y = (np.arange(height) + 0.5) / height * 2 - 1
    rot, tilt = unproject(*np.meshgrid(x, y))
    inside = np.isfinite(rot)
    table = np.full((height, width), -1, dtype=np.int64)
    table[inside] = sphere.pixels_of_angles(
        np.radians(tilt[inside]), np.radians(rot[inside]), nside
    )
    table.setflags(write=False)
    return table


def pixel_at(nside: int, x: float, y: float) -> int:
    """Return the HEALPix pixel drawn at a map point; −1 outside the map."""
    if not (abs(x) < 2 and abs(y) < 1):
        return -1
    row, column = int((y + 1) / 2 * HEIGHT), int((x + 2) / 4 * WIDTH)
    return int(index_table(nside)[row, column])


def graticule(step: float = 30) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return meridians, parallels and outline as one line, NaN between them."""
    tilts, rots = np.linspace(0, 180, 91), np.linspace(-179.999, 179.999, 91)
    lines = [project(np.full(91, rot), tilts) for rot in np.arange(-180 + step, 180, step)]
    lines += [project(np.full(91, rot), tilts) for rot in (-179.999, 179.999)]
    lines += [project(rots, np.full(91, tilt)) for tilt in np.arange(step, 180, step)]
    gap = [np.nan]
    xs = np.concatenate([part for x, _ in lines for part in (x, gap)])
    ys = np.concatenate([part for _, y in lines for part in (y, gap)])
    return xs, ys


def _auxiliary_angle(latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve ``2θ + sin 2θ = π sin(latitude)`` for θ.

    By bisection: Newton's derivative vanishes at the poles.
    """
    target = np.pi * np.sin(latitude)
    low, high = np.full(target.shape, -np.pi / 2), np.full(target.shape, np.pi / 2)
    for _ in range(50):
        middle = (low + high) / 2
        below = 2 * middle + np.sin(2 * middle) < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2, dtype=np.float64)
