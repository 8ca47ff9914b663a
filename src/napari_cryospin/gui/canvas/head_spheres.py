"""One small sphere per head above the volume, coloured by a value per view direction."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

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
_LEAST_PIXELS, _LEAST_SMALL_PIXELS = 15, 5


@dataclass(frozen=True)
class ToldCandidates:
    """Candidates: view directions (k, 3), which has won, heads and weights, (k,) each."""

    directions: NDArray[np.floating]
    won: NDArray[np.bool_]
    heads: NDArray[np.integer]
    weights: NDArray[np.floating]

    def those(self, chosen: NDArray[np.bool_]) -> ToldCandidates:
        """Return some of them."""
        return ToldCandidates(*(getattr(self, field.name)[chosen] for field in fields(self)))


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


@dataclass(frozen=True)
class Discs:
    """Discs in the colours of heads, some with the heads' numbers on them.

    Parameters
    ----------
    points
        Their places, (n, 3).
    sizes
        Their sizes, (n,).
    heads
        Head of each, (n,).
    numbered
        Which have a number, bool, (n,).
    opacity
        Opacity of each, in 0..1, (n,).
    """

    points: NDArray[np.float32]
    sizes: NDArray[np.float64]
    heads: NDArray[np.integer]
    numbered: NDArray[np.bool_]
    opacity: NDArray[np.floating]

    @classmethod
    def of_heads(cls, points: NDArray[np.float32], sizes: NDArray[np.float64]) -> Self:
        """Return one numbered disc for each head."""
        n = len(points)
        return cls(points, sizes, np.arange(n), np.ones(n, bool), np.ones(n))

    @property
    def colours(self) -> NDArray[np.float32]:
        """Their colours, RGBA, (n, 4)."""
        colours = head_colours(self.heads)
        colours[:, 3] = self.opacity
        return colours

    @property
    def numbers(self) -> dict[str, list[str]]:
        """Their numbers, as a layer's features."""
        told = zip(self.heads, self.numbered, strict=True)
        return {"head": [head_label(int(head)) if shown else "" for head, shown in told]}

    @property
    def text_colours(self) -> list[str]:
        """The colours in which their numbers are read best."""
        return [text_on(head_colour(int(head))) for head in self.heads]

    def looks_as(self, other: Discs | None) -> bool:
        """Whether heads, numbers and opacity are another's."""
        return other is not None and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("heads", "numbered", "opacity")
        )


def head_numbers(discs: Discs, name: str, key: str) -> Points:
    """Return a layer with discs, their numbers on them once these are visible."""
    return Points(
        discs.points,
        name=name,
        size=discs.sizes,
        # on a small canvas too the disc is behind the whole number
        canvas_size_limits=(_least(discs), 10_000),
        face_color=discs.colours,
        # where the limits enlarge a disc, they enlarge its border alone
        border_color=discs.colours,
        features=discs.numbers,
        text={
            "string": "{head}",
            "size": 9,
            "color": discs.text_colours,
            # the first text of a canvas takes as long to draw as all the rest
            "visible": False,
        },
        metadata={TAG: key},
    )


def move_numbers(layer: Points, discs: Discs, before: Discs | None) -> None:
    """Move discs; their colours are the user's as long as what they show stays."""
    if not np.array_equal(layer.data, discs.points):
        layer.data = discs.points
    if not discs.looks_as(before):
        layer.features = discs.numbers
        layer.face_color = layer.border_color = discs.colours
        layer.text.color = discs.text_colours
        layer.canvas_size_limits = (_least(discs), 10_000)
    if not np.array_equal(layer.size, discs.sizes):
        layer.size = discs.sizes


def _least(discs: Discs) -> int:
    """Return the least size of discs on the canvas, pixels."""
    return _LEAST_PIXELS if bool(discs.numbered.any()) else _LEAST_SMALL_PIXELS


def vertex_colours(cells: HeadCells) -> NDArray[np.float32]:
    """Return the colours of all vertices of :func:`spheres_mesh`."""
    return per_vertex(cell_colours(cells.values).reshape(-1, 4))
