"""The spheres beside the volume: posterior, head candidates, and views by winning head.

Layers are made once and then only given new data: camera, contrast, selection, order and visibility
belong to the user. A layer that the user deletes comes back with the next run, not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer, Points, Surface

from napari_cryospin.gui.colours import COLOURMAP, head_colours, head_label
from napari_cryospin.gui.spheres import (
    beside_volume,
    healpix_mesh,
    per_vertex,
    winning_head_of_pixels,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_cryospin.gui.spheres import Sphere

POSTERIOR = "posterior"
CANDIDATES = "head candidates"
VIEWS = "views by winning head"
# the key under which a layer's metadata says which of ours it is
_TAG = "cryospin sphere"
_UNITS = ("angstrom",) * 3
_VIEWS_NSIDE = 8
_SHADE = 0.3


@dataclass(frozen=True)
class PosteriorOnSphere:
    """What the posterior sphere shows: values of directions (RING) and their colour limits."""

    particle: int
    nside: int
    values: NDArray[np.float32]
    limits: tuple[float, float]


class SphereLayers:
    """Draws the spheres of one viewer; what is hidden is drawn when it is shown again."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layers: dict[str, Layer] = {}
        self._deleted: set[str] = set()
        self._waiting: dict[str, Callable[[], None]] = {}
        self._right = self._left = beside_volume(1, 1, 1)
        self._adopt()
        viewer.layers.events.removed.connect(self._on_removed)

    def new_run(self) -> None:
        """Let deleted layers come back."""
        self._deleted.clear()

    def set_box(self, box: int, pixel_size: float) -> None:
        """Place the spheres beside a volume of ``box`` pixels of ``pixel_size`` Å."""
        self._right = beside_volume(box, pixel_size, 1)
        self._left = beside_volume(box, pixel_size, -1)

    @property
    def posterior_shown(self) -> bool:
        """Whether a posterior sphere is on the canvas, so that it is worth computing."""
        layer = self._layers.get(POSTERIOR)
        return layer is not None and bool(layer.visible)

    def show_posterior(self, shown: PosteriorOnSphere) -> None:
        """Colour the right-hand sphere by the posterior of a particle."""
        self._when_visible(POSTERIOR, lambda: self._draw_posterior(shown))

    def show_candidates(self, directions: NDArray[np.floating], winner: int) -> None:
        """Put numbered points at the heads' view directions (M, 3) on the posterior sphere."""
        self._when_visible(CANDIDATES, lambda: self._draw_candidates(directions, winner))

    def show_views(self, directions: NDArray[np.floating], heads: NDArray[np.integer]) -> None:
        """Colour the left-hand sphere by the head that wins most particles of each view."""
        self._when_visible(VIEWS, lambda: self._draw_views(directions, heads))

    def _draw_posterior(self, shown: PosteriorOnSphere) -> None:
        vertices, faces = _mesh(shown.nside, self._right)
        data = (vertices, faces, per_vertex(shown.values))
        title = f"Posterior of particle {shown.particle}"
        layer = self._layers.get(POSTERIOR)
        if layer is None:
            low, high = shown.limits
            # the colour map's black begins lower, or the sphere would vanish on a dark canvas
            limits = (low - _SHADE * (high - low), high)
            options = {"colormap": COLOURMAP, "contrast_limits": limits}
            self._add(POSTERIOR, Surface(data, name=title, **options, **_common(POSTERIOR)))
            return
        layer.data = data
        if layer.name.startswith("Posterior of particle"):
            layer.name = title

    def _draw_candidates(self, directions: NDArray[np.floating], winner: int) -> None:
        if len(directions) == 0:
            return
        points = self._right.place(directions, height=1.04)
        sizes = np.full(len(points), 0.14 * self._right.radius)
        if winner >= 0:
            sizes[winner] *= 1.8
        colours = head_colours(np.arange(len(points)))
        layer = self._layers.get(CANDIDATES)
        if layer is None:
            self._add(CANDIDATES, _candidate_points(points, sizes, colours))
            return
        more_or_fewer = len(layer.data) != len(points)
        layer.data = points
        if more_or_fewer:
            layer.features = _numbers(len(points))
            layer.face_color = colours
        layer.size = sizes

    def _draw_views(self, directions: NDArray[np.floating], heads: NDArray[np.integer]) -> None:
        vertices, faces = _mesh(_VIEWS_NSIDE, self._left)
        winners = winning_head_of_pixels(directions, heads, _VIEWS_NSIDE)
        colours = per_vertex(head_colours(winners))
        layer = self._layers.get(VIEWS)
        if layer is None:
            layer = Surface((vertices, faces), name="Views by winning head", **_common(VIEWS))
            layer.vertex_colors = colours
            self._add(VIEWS, layer)
            return
        if not np.array_equal(layer.vertices, vertices):
            layer.vertices = vertices
        layer.vertex_colors = colours

    def _when_visible(self, key: str, draw: Callable[[], None]) -> None:
        if key in self._deleted:
            return
        layer = self._layers.get(key)
        if layer is None or layer.visible:
            draw()
        else:
            self._waiting[key] = draw

    def _add(self, key: str, layer: Layer) -> None:
        """Add a layer below the user's, leaving his selection as it is."""
        layers = self._viewer.layers
        selected, active = set(layers.selection), layers.selection.active
        layers.append(layer)
        layers.selection = selected
        layers.selection.active = active
        self._keep(key, layer)

    def _keep(self, key: str, layer: Layer) -> None:
        self._layers[key] = layer
        layer.events.visible.connect(self._on_visible)

    def _adopt(self) -> None:
        """Take over the layers of a dock that was closed and opened again."""
        for layer in self._viewer.layers:
            key = layer.metadata.get(_TAG)
            if key is not None:
                self._keep(key, layer)

    def _on_visible(self, event: Any) -> None:
        key = event.source.metadata.get(_TAG)
        draw = self._waiting.pop(key, None) if event.source.visible else None
        if draw is not None:
            draw()

    def _on_removed(self, event: Any) -> None:
        for key, layer in list(self._layers.items()):
            if layer is event.value:
                layer.events.visible.disconnect(self._on_visible)
                del self._layers[key]
                self._waiting.pop(key, None)
                self._deleted.add(key)


def _common(key: str) -> dict[str, Any]:
    return {"metadata": {_TAG: key}, "shading": "none", "units": _UNITS}


def _mesh(nside: int, sphere: Sphere) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    vertices, faces = healpix_mesh(nside)
    return sphere.place(vertices), faces


def _numbers(n_heads: int) -> dict[str, list[str]]:
    return {"head": [head_label(head) for head in range(n_heads)]}


def _candidate_points(
    points: NDArray[np.float32], sizes: NDArray[np.float64], colours: NDArray[np.float32]
) -> Points:
    return Points(
        points,
        name="Head candidates",
        size=sizes,
        face_color=colours,
        border_color="white",
        features=_numbers(len(points)),
        text={"string": "{head}", "size": 9, "color": "white", "anchor": "upper_left"},
        metadata={_TAG: CANDIDATES},
        units=_UNITS,
    )
