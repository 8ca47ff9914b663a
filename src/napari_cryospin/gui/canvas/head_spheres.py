"""One small sphere per head above the volume, coloured by a value per view direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points, Surface
from napari.utils.colormaps import ensure_colormap

from napari_cryospin.gui.canvas.spheres import healpix_mesh, per_vertex
from napari_cryospin.gui.canvas.units import TAG
from napari_cryospin.gui.colours import head_colour, head_colours, head_label, text_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.gui.canvas.spheres import Sphere

CELLS_COLOURMAP = "viridis"
_PERCENTILES = (2, 98)
_LEVELS = 256
_LEAST_PIXELS = 15


@dataclass(frozen=True)
class HeadCells:
    """A value per head and direction (RING), shape (M, 12 nside²), NaN in empty cells; its name."""

    values: NDArray[np.floating]
    nside: int
    label: str


def common_options(key: str) -> dict[str, Any]:
    """Return what all our surfaces are made with."""
    return {"metadata": {TAG: key}, "shading": "none"}


def set_mesh(
    layer: Surface,
    mesh: tuple[NDArray[np.float32], NDArray[np.int64]],
    colours: NDArray[np.float32],
    values: NDArray[np.float32] | None = None,
) -> None:
    """Give a surface another mesh and colours, telling the viewer once."""
    quiet = layer.events.data.blocker
    if len(layer.vertices) != len(mesh[0]):
        with quiet():
            layer.vertex_colors = None
    if values is not None or not np.array_equal(layer.vertices, mesh[0]):
        with quiet():
            layer.data = mesh if values is None else (*mesh, values)
    layer.vertex_colors = colours


def cell_colours(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return RGBA colours, shape (..., 4), of cells, shape (...); empty ones (NaN) are grey."""
    filled = np.isfinite(values)
    low, high = np.percentile(values[filled], _PERCENTILES) if filled.any() else (0, 1)
    level = np.clip((np.where(filled, values, low) - low) / max(high - low, 1e-12), 0, 1)
    table = ensure_colormap(CELLS_COLOURMAP).map(np.linspace(0, 1, _LEVELS))
    colours = table[(level * (_LEVELS - 1)).astype(np.intp)]
    colours[~filled] = head_colours(np.array([-1]))[0]
    return np.asarray(colours, dtype=np.float32)


def spheres_mesh(
    nside: int, spheres: list[Sphere]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return one mesh of several spheres, one after the other: vertices (z, y, x), faces."""
    unit, faces = healpix_mesh(nside)
    vertices = np.concatenate([sphere.place(unit) for sphere in spheres])
    first = len(unit) * np.arange(len(spheres))[:, None, None]
    return vertices, (faces + first).reshape(-1, 3)


def head_numbers(
    points: NDArray[np.float32], sizes: NDArray[np.float64], name: str, key: str
) -> Points:
    """Return a layer with a disc per head in its colour, its number on it once that is visible."""
    heads = np.arange(len(points))
    return Points(
        points,
        name=name,
        size=sizes,
        # on a small canvas too the disc is behind the whole number
        canvas_size_limits=(_LEAST_PIXELS, 10_000),
        face_color=head_colours(heads),
        # where the limits enlarge a disc, they enlarge its border alone
        border_color=head_colours(heads),
        features=numbers(len(points)),
        text={
            "string": "{head}",
            "size": 9,
            "color": text_colours(len(points)),
            # the first text of a canvas takes as long to draw as all the rest
            "visible": False,
        },
        metadata={TAG: key},
    )


def move_numbers(layer: Points, points: NDArray[np.float32], sizes: NDArray[np.float64]) -> None:
    """Move the discs of heads; their colours are the user's as long as their number stays."""
    more_or_fewer = len(layer.data) != len(points)
    if not np.array_equal(layer.data, points):
        layer.data = points
    if more_or_fewer:
        layer.features = numbers(len(points))
        layer.face_color = layer.border_color = head_colours(np.arange(len(points)))
        layer.text.color = text_colours(len(points))
    if not np.array_equal(layer.size, sizes):
        layer.size = sizes


def numbers(n_heads: int) -> dict[str, list[str]]:
    """Return the numbers of heads as a layer's features."""
    return {"head": [head_label(head) for head in range(n_heads)]}


def text_colours(n_heads: int) -> list[str]:
    """Return the colours in which numbers are read best on their heads' colours."""
    return [text_on(head_colour(head)) for head in range(n_heads)]


def vertex_colours(cells: HeadCells) -> NDArray[np.float32]:
    """Return the colours of all vertices of :func:`spheres_mesh`."""
    return per_vertex(cell_colours(cells.values).reshape(-1, 4))
