"""HEALPix spheres as triangle meshes, and where they stand beside the volume.

Directions are (x, y, z) in the map's frame; napari's world is (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sphere:
    """A sphere in napari's world: its centre (z, y, x) and radius in Å."""

    centre: tuple[float, float, float]
    radius: float

    def place(self, directions: NDArray[np.floating], height: float = 1) -> NDArray[np.float32]:
        """Return world points (z, y, x), shape (..., 3), of unit directions (x, y, z)."""
        points = np.asarray(directions)[..., ::-1] * (self.radius * height) + np.array(self.centre)
        return np.ascontiguousarray(points, dtype=np.float32)


def beside_volume(box: int, pixel_size: float, side: int) -> Sphere:
    """Return the sphere to the right (``side=1``) or left (``side=-1``) of the volume.

    Parameters
    ----------
    box
        Pixels along an edge of the volume.
    pixel_size
        Å per pixel.
    side
        1 for larger x, −1 for smaller x.
    """
    length = box * pixel_size
    # the map's origin is voxel box // 2, and voxel centres are at whole pixels
    middle = (box // 2) * pixel_size
    return Sphere((middle, middle, middle + side * length), 0.4 * length)


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
    import healpy

    n_pixels = 12 * nside**2
    corners = healpy.boundaries(nside, np.arange(n_pixels), step=1)
    vertices = np.ascontiguousarray(np.moveaxis(corners, 1, 2)).reshape(-1, 3)
    first = 4 * np.arange(n_pixels)[:, None, None]
    faces = (first + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    for array in (vertices, faces):
        array.setflags(write=False)
    return vertices, faces


def per_vertex(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the values of pixels, shape (n, ...), for the four vertices of each, (4n, ...)."""
    return np.repeat(np.asarray(values, dtype=np.float32), 4, axis=0)


def winning_head_of_pixels(
    directions: NDArray[np.floating], heads: NDArray[np.integer], nside: int
) -> NDArray[np.int64]:
    """Return the head that wins most particles viewed from each pixel, shape (12 nside²,).

    Parameters
    ----------
    directions
        View direction (x, y, z) of each particle, shape (n, 3).
    heads
        Winning head of each particle, shape (n,); −1 where not seen yet.

    Returns
    -------
    ndarray
        −1 where no particle is seen from the pixel.
    """
    import healpy

    seen = heads >= 0
    n_pixels, n_heads = 12 * nside**2, int(heads.max(initial=0)) + 1
    pixels = healpy.vec2pix(nside, *np.asarray(directions, dtype=np.float64)[seen].T)
    counts = np.zeros((n_pixels, n_heads), dtype=np.int64)
    np.add.at(counts, (pixels, heads[seen]), 1)
    return np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
