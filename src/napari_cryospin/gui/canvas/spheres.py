"""HEALPix spheres as triangle meshes, and where they stand beside the volume.

Directions are (x, y, z) in the map's frame; napari's world is (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.geometry.sphere import corners_of_pixels, directions_of_pixels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Molecules take up two thirds of their box: the rest of it is free for the spheres.
# Of the square around the map that a canvas shows, in box lengths: half its side
SHOWN = 0.42
# the spheres in the lower corners: radius, room for the discs of candidates on their edge, distance
# right and down
_RADIUS, _DISCS = 0.105, 0.017
_CORNER = SHOWN - _RADIUS - _DISCS
# the small ones along the upper edge: radius, distance right and down, first row
_SMALL = 0.042
_PITCH = (0.105, 0.12)
_FIRST_ROW = _SMALL + 0.005 - SHOWN
_PER_ROW = 8


@dataclass(frozen=True)
class Sphere:
    """A sphere in napari's world: its centre (z, y, x) and radius in Å.

    A direction stands at its own side of the sphere, or opposite, where ``side`` is -1.
    """

    centre: tuple[float, float, float]
    radius: float
    side: int = 1

    def place(self, directions: NDArray[np.floating], height: float = 1) -> NDArray[np.float32]:
        """Return world points (z, y, x), shape (..., 3), of unit directions (x, y, z)."""
        out = self.side * self.radius * height
        points = np.asarray(directions)[..., ::-1] * out + np.array(self.centre)
        return np.ascontiguousarray(points, dtype=np.float32)

    def hit(
        self, position: NDArray[np.floating], view_direction: NDArray[np.floating]
    ) -> NDArray[np.float64] | None:
        """Return the direction (x, y, z) in which a line first meets the sphere, or None.

        Parameters
        ----------
        position
            A point on the line, (z, y, x), before or behind the sphere.
        view_direction
            The way the line goes, (z, y, x), a unit vector.
        """
        start = np.asarray(position, dtype=np.float64) - self.centre
        along = float(start @ view_direction)
        inside = along**2 - float(start @ start) + self.radius**2
        if inside < 0:
            return None
        point = start - (along + np.sqrt(inside)) * np.asarray(view_direction)
        return np.asarray(self.side * point[::-1] / self.radius)


def middle_of_volume(box: int, pixel_size: float) -> NDArray[np.float64]:
    """Return the map's origin, voxel ``box // 2``, in the world; voxel centres are at whole pixels.

    Parameters
    ----------
    box
        Pixels along an edge of the volume.
    pixel_size
        Å per pixel.
    """
    return np.full(3, (box // 2) * pixel_size)


def beside_volume(
    box: int,
    pixel_size: float,
    side: int,
    right: ArrayLike = (0, 0, 1),
    down: ArrayLike = (0, 1, 0),
) -> Sphere:
    """Return the sphere right (``side=1``) or left (``side=-1``) below the map.

    Parameters
    ----------
    box
        Pixels along an edge of the volume.
    pixel_size
        Å per pixel.
    side
        1 for right, −1 for left.
    right, down
        The unit vectors (z, y, x) that point right and down; x and y where not given.
    """
    length, middle = box * pixel_size, middle_of_volume(box, pixel_size)
    offset = _CORNER * (side * np.asarray(right) + np.asarray(down))
    return _sphere(middle + length * offset, _RADIUS * length)


def above_volume(
    box: int,
    pixel_size: float,
    count: int,
    right: ArrayLike = (0, 0, 1),
    down: ArrayLike = (0, 1, 0),
) -> list[Sphere]:
    """Return ``count`` small spheres in centred rows above the map.

    Parameters
    ----------
    box
        Pixels along an edge of the volume.
    pixel_size
        Å per pixel.
    count
        How many spheres.
    right, down
        The unit vectors (z, y, x) that point right and down; x and y where not given.
    """
    length, middle = box * pixel_size, middle_of_volume(box, pixel_size)
    rows, columns = np.divmod(np.arange(count), _PER_ROW)
    in_row = np.minimum(count - rows * _PER_ROW, _PER_ROW)
    across = (columns - (in_row - 1) / 2) * _PITCH[0]
    under = _FIRST_ROW + rows * _PITCH[1]
    offsets = across[:, None] * np.asarray(right) + under[:, None] * np.asarray(down)
    centres = middle + length * offsets
    return [_sphere(centre, _SMALL * length) for centre in centres]


def _sphere(centre: NDArray[np.float64], radius: float) -> Sphere:
    z, y, x = centre.tolist()
    return Sphere((z, y, x), radius)


@lru_cache(maxsize=4)
def healpix_mesh(nside: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the mesh of a HEALPix sphere; pixel ``p`` owns vertices 4p to 4p + 3.

    Imports healpy: first called off the GUI thread.

    Returns
    -------
    vertices
        On the unit sphere, (x, y, z), shape (48 nside², 3).
    faces
        Two triangles per pixel, shape (24 nside², 3).
    """
    vertices = corners_of_pixels(nside).reshape(-1, 3)
    first = 4 * np.arange(12 * nside**2)[:, None, None]
    faces = (first + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    for array in (vertices, faces):
        array.setflags(write=False)
    return vertices, faces


@lru_cache(maxsize=4)
def healpix_centres(nside: int) -> NDArray[np.float64]:
    """Return the directions (x, y, z) of the pixels of a HEALPix sphere, shape (12 nside², 3)."""
    return directions_of_pixels(nside)


def per_vertex(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the values of pixels, shape (n, ...), for the four vertices of each, (4n, ...)."""
    return np.repeat(np.asarray(values, dtype=np.float32), 4, axis=0)
