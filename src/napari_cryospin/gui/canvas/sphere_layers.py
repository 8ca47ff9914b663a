"""The spheres around the volume: posterior, candidates, views by winning candidate, heads' cells.

They stay at the edges of the volume's square however the camera turns, so that none stands before
the map; each turns with it. A view direction stands where the eye sees the map as its particles
do. See :mod:`napari_cryospin.gui.canvas.kept_layers` for what belongs to the user.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Surface

from napari_cryospin.gui.canvas.behind import prepare_characters
from napari_cryospin.gui.canvas.camera import (
    CameraTurner,
    ClickWatch,
    canvas_axes,
    is_near,
    towards_eye,
)
from napari_cryospin.gui.canvas.glass import glass_colours, lookup_table
from napari_cryospin.gui.canvas.head_spheres import (
    Discs,
    HeadCells,
    ToldCandidates,
    common_options,
    head_numbers,
    move_numbers,
    set_mesh,
    spheres_mesh,
    vertex_colours,
)
from napari_cryospin.gui.canvas.kept_layers import KeptLayers
from napari_cryospin.gui.canvas.spheres import (
    above_volume,
    beside_volume,
    healpix_centres,
    healpix_mesh,
    per_vertex,
)
from napari_cryospin.gui.canvas.units import TAG
from napari_cryospin.gui.colours import COLOURMAP, head_colours

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from qtpy.QtCore import QObject

    from napari_cryospin.gui.canvas.camera import Click
    from napari_cryospin.gui.canvas.spheres import Sphere

POSTERIOR = "posterior"
CANDIDATES = "head candidates"
OTHERS = "other candidates"
VIEWS = "views by winning candidate"
HEAD_CELLS = "head cells"
HEAD_NUMBERS = "head numbers"
_KEYS = (POSTERIOR, CANDIDATES, OTHERS, VIEWS, HEAD_CELLS, HEAD_NUMBERS)
# fine enough to look round
_VIEWS_NSIDE = 8
_LEVELS = 256
# of the radius of a head's sphere: how far below it its number stands, and the size of the disc
_NUMBER_BELOW, _NUMBER_SIZE = 1.28, 0.4
# of the radius of the posterior's sphere: the disc of a candidate; of that, one without a number;
# and the opacity of one without any weight
_DISC, _SMALL, _FAINT = 0.16, 0.45, 0.35
# what a number of a head needs: vispy takes the height of a line from the letters; a few at a time
_CHARACTERS: tuple[str, ...] = ("ÅÉÑŐ", "jgpq", "y 01", "2345", "6789")


@dataclass(frozen=True)
class PosteriorOnSphere:
    """What the posterior sphere shows: values of directions (RING) and their colour limits.

    ``of_class`` is the number of the class whose map it is against, where there are several.
    """

    particle: int
    nside: int
    values: NDArray[np.float32]
    limits: tuple[float, float]
    of_class: str = ""


class SphereLayers:
    """Draws the spheres of one viewer; what is hidden is drawn when it is shown again.

    Parameters
    ----------
    viewer
        Where the spheres stand.
    owner
        With it ends what is still to be made.

    Attributes
    ----------
    turner
        Turns the camera.
    direction_clicked
        Called with the view direction (x, y, z) on which the user clicks; turns the camera there,
        unless another function is put in its place. A second click at the same place of the canvas
        gives the view back.
    """

    def __init__(self, viewer: ViewerModel, owner: QObject | None = None) -> None:
        self._viewer = viewer
        self._kept = KeptLayers(viewer, _KEYS, owner)
        self._volume, self._offset = (1, 1.0), (0.0, 0.0, 0.0)
        self._unprepared = _CHARACTERS
        self._discs: dict[str, Discs] = {}
        self._last_click: NDArray[np.float64] | None = None
        self.turner = CameraTurner(viewer)
        self.direction_clicked: Callable[[NDArray[np.float64]], None] = self.turner.toggle
        self._place()
        viewer.scene.camera.events.angles.connect(self._on_camera)
        viewer.scene.camera.events.orientation.connect(self._on_camera)
        viewer.dims.events.ndisplay.connect(self._on_camera)
        viewer.layers.events.removed.connect(self._on_removed)
        ClickWatch(viewer, self._on_click)

    def new_run(self) -> None:
        """Put the last run's spheres away until the new one has its own; deleted ones come back."""
        self._kept.new_run()

    def bring_back(self) -> None:
        """Make the deleted spheres anew, from what was drawn last."""
        self._kept.bring_back()

    def set_box(
        self, box: int, pixel_size: float, offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ) -> None:
        """Place the spheres beside a volume of ``box`` pixels of ``pixel_size`` Å.

        ``offset`` is by how much that is moved, (z, y, x) in Å.
        """
        if (self._volume, self._offset) != ((box, pixel_size), offset):
            self._volume, self._offset = (box, pixel_size), offset
            self._on_camera()

    @property
    def posterior_shown(self) -> bool:
        """Whether a posterior sphere is on the canvas or awaited, and so worth computing."""
        return self._kept.wanted(POSTERIOR)

    def show_posterior(self, shown: PosteriorOnSphere) -> None:
        """Colour the right-hand sphere by the posterior of a particle."""
        self._kept.draw(POSTERIOR, lambda: self._draw_posterior(shown))

    def show_candidates(
        self,
        directions: NDArray[np.floating],
        winner: int,
        heads: NDArray[np.integer] | None = None,
        weights: NDArray[np.floating] | None = None,
        numbered: NDArray[np.integer] | None = None,
    ) -> None:
        """Put points at the candidates' view directions (K, 3) on the posterior sphere.

        Parameters
        ----------
        directions
            View directions (x, y, z), (K, 3).
        winner
            Which of them won, or −1.
        heads
            Head of each, which gives its colour and number, (K,); None: each is its own.
        weights
            Weight of each, in 0..1, (K,): light ones are small and faint; None: all are alike.
        numbered
            Places of those that have a number, (m,); None: all have.
        """
        if len(directions) == 0:
            # napari cannot draw numbers of no points
            self._kept.put_away(CANDIDATES)
            self._kept.put_away(OTHERS)
        else:
            self._prepare_numbers()
            n = len(directions)
            shown = np.ones(n, bool) if numbered is None else np.isin(np.arange(n), numbered)
            told = ToldCandidates(
                directions,
                np.arange(n) == winner,
                np.arange(n) if heads is None else heads,
                np.ones(n) if weights is None else np.asarray(weights),
            )
            first, others = told.those(shown), told.those(~shown)
            self._kept.draw(CANDIDATES, lambda: self._draw_candidates(first))
            if shown.all():
                self._kept.put_away(OTHERS)
            else:
                self._kept.draw(OTHERS, lambda: self._draw_others(others))

    def show_views(self, directions: NDArray[np.floating], heads: NDArray[np.integer]) -> None:
        """Colour the left-hand sphere by the head that wins most particles of each view."""
        # with it comes torch, which is at hand where there are poses
        from napari_cryospin.engine.evaluation.views import (
            repeated,
            views_nside,
            winner_per_view,
        )

        # counted when first drawn, not at every turn of the camera
        @cache
        def winners() -> NDArray[np.int64]:
            nside = views_nside(directions[heads >= 0])
            return repeated(winner_per_view(directions, heads, nside), _VIEWS_NSIDE)

        self._kept.draw(VIEWS, lambda: self._draw_views(winners()))

    def show_head_cells(self, values: NDArray[np.floating], nside: int, label: str) -> None:
        """Colour one small sphere per head above the volume.

        Parameters
        ----------
        values
            Value of each head and direction (RING), shape (M, 12 nside²); NaN in empty cells.
        nside
            HEALPix resolution.
        label
            What the values are, for the layer's name.
        """
        if len(values) == 0:
            return
        cells = HeadCells(values, nside, label)
        colours = cache(lambda: vertex_colours(cells))
        self._prepare_numbers()
        self._kept.draw(HEAD_CELLS, lambda: self._draw_head_cells(cells, colours()))
        self._kept.draw(HEAD_NUMBERS, lambda: self._draw_head_numbers(len(values)))

    def hide_head_cells(self) -> None:
        """Hide the heads' spheres until they are shown again."""
        self._kept.put_away(HEAD_CELLS)

    def _prepare_numbers(self) -> None:
        """Make the pictures of digits before they are drawn, which would then take long."""
        characters, self._unprepared = self._unprepared, ()
        for some in characters:
            self._kept.later(partial(prepare_characters, self._viewer, some))

    def _draw_posterior(self, shown: PosteriorOnSphere) -> None:
        facing = healpix_centres(shown.nside) @ self._towards_eye
        layer, title = self._kept.get(POSTERIOR), f"Posterior of particle {shown.particle}"
        title += f", class {shown.of_class}" if shown.of_class else ""
        if layer is None:
            layer = self._make_posterior(shown, title)
        elif layer.name != title and layer.name.startswith("Posterior of particle"):
            layer.name = title
        table = lookup_table(layer.colormap.map(np.linspace(0, 1, _LEVELS)))
        colours = glass_colours(shown.values, layer.contrast_limits, facing, table)
        vertices, faces = healpix_mesh(shown.nside)
        # the far side is painted first, and shines through the near one
        faces = faces.reshape(-1, 6)[np.argsort(facing)].reshape(-1, 3)
        mesh = (self._right.place(vertices), faces)
        set_mesh(layer, mesh, per_vertex(colours), per_vertex(shown.values))

    def _make_posterior(self, shown: PosteriorOnSphere, title: str) -> Surface:
        vertices, faces = healpix_mesh(shown.nside)
        data = (self._right.place(vertices), faces, per_vertex(shown.values))
        layer = Surface(
            data,
            name=title,
            colormap=COLOURMAP,
            contrast_limits=shown.limits,
            # with depth, clear faces would hide what is behind them
            blending="translucent_no_depth",
            **common_options(POSTERIOR),
        )
        layer.events.contrast_limits.connect(self._on_colours)
        layer.events.colormap.connect(self._on_colours)
        self._kept.add(POSTERIOR, layer)
        return layer

    def _draw_candidates(self, told: ToldCandidates) -> None:
        points = self._right.place(told.directions, height=1.04)
        sizes = _DISC * self._right.radius * np.where(told.won, 1.4, 1)
        # small behind the sphere, or they would seem to be in front
        sizes[told.directions @ self._towards_eye < 0] *= 0.6
        n = len(points)
        discs = Discs(points, sizes, told.heads, np.ones(n, bool), np.ones(n))
        self._draw_numbers(CANDIDATES, "Candidates", discs)

    def _draw_others(self, told: ToldCandidates) -> None:
        points = self._right.place(told.directions, height=1.02)
        sizes = _SMALL * _DISC * self._right.radius * (0.5 + 0.5 * told.weights.astype(np.float64))
        sizes[told.directions @ self._towards_eye < 0] *= 0.6
        opacity = _FAINT + (1 - _FAINT) * told.weights.astype(np.float64)
        discs = Discs(points, sizes, told.heads, np.zeros(len(points), bool), opacity)
        self._draw_numbers(OTHERS, "Other candidates", discs)

    def _draw_numbers(self, key: str, name: str, discs: Discs) -> None:
        layer = self._kept.get(key)
        if layer is None:
            layer = head_numbers(discs, name, key)
            self._kept.add(key, layer)
            if discs.numbered.any():
                self._kept.later(partial(setattr, layer.text, "visible", True))
        else:
            move_numbers(layer, discs, self._discs.get(key))
        self._discs[key] = discs

    def _draw_views(self, winners: NDArray[np.int64]) -> None:
        vertices, faces = healpix_mesh(_VIEWS_NSIDE)
        mesh = (self._left.place(vertices), faces)
        self._draw_surface(
            VIEWS, "Views by winning candidate", mesh, per_vertex(head_colours(winners))
        )

    def _draw_head_cells(self, cells: HeadCells, colours: NDArray[np.float32]) -> None:
        mesh = spheres_mesh(cells.nside, self._row(len(cells.values)))
        made = self._kept.get(HEAD_CELLS) is None
        self._draw_surface(HEAD_CELLS, f"Heads: {cells.label}", mesh, colours)
        if made:
            self._kept.get(HEAD_CELLS).events.visible.connect(self._on_cells_visible)
            self._show_numbers(True)

    def _draw_head_numbers(self, count: int) -> None:
        row = self._row(count)
        below = np.array(self._axes[1]) * row[0].radius * _NUMBER_BELOW
        points = np.array([sphere.centre for sphere in row]) + below
        sizes = np.full(count, _NUMBER_SIZE * row[0].radius)
        discs = Discs.of_heads(points.astype(np.float32), sizes)
        self._draw_numbers(HEAD_NUMBERS, "Heads: numbers", discs)

    def _draw_surface(
        self,
        key: str,
        name: str,
        mesh: tuple[NDArray[np.float32], NDArray[np.int64]],
        colours: NDArray[np.float32],
    ) -> None:
        layer = self._kept.get(key)
        if layer is None:
            layer = Surface(mesh, name=name, **common_options(key))
            layer.vertex_colors = colours
            self._kept.add(key, layer)
        else:
            set_mesh(layer, mesh, colours)

    def _place(self) -> None:
        """Find where the spheres stand, given the volume and the camera."""
        camera = self._viewer.scene.camera
        self._axes, self._side = canvas_axes(self._viewer), towards_eye(camera)
        self._right, self._left = (
            self._moved(beside_volume(*self._volume, side, *self._axes)) for side in (1, -1)
        )
        self._towards_eye = -self._side * np.array(camera.view_direction)[::-1]

    def _row(self, count: int) -> list[Sphere]:
        row = above_volume(*self._volume, count, *self._axes)
        return [self._moved(sphere) for sphere in row]

    def _moved(self, sphere: Sphere) -> Sphere:
        """Return a sphere beside the volume where that stands, with directions on their side."""
        z, y, x = np.add(sphere.centre, self._offset).tolist()
        return replace(sphere, centre=(z, y, x), side=self._side)

    def _on_camera(self, _event: Any = None) -> None:
        self._place()
        self._kept.draw_all_again()

    def _on_cells_visible(self, event: Any) -> None:
        self._show_numbers(event.source.visible)

    def _on_removed(self, event: Any) -> None:
        if event.value.metadata.get(TAG) == HEAD_CELLS:
            self._show_numbers(False)

    def _show_numbers(self, visible: bool) -> None:
        """Let the numbers come and go with the heads' spheres."""
        numbers = self._kept.get(HEAD_NUMBERS)
        if numbers is not None:
            numbers.visible = visible

    def _on_colours(self, _event: Any) -> None:
        self._kept.draw_again(POSTERIOR)

    def _on_click(self, click: Click) -> None:
        direction = self._direction_at(click)
        if direction is None:
            return
        last, self._last_click = self._last_click, click.pixel
        if self.turner.turned and last is not None and is_near(last, click.pixel):
            self.turner.give_back()
        else:
            self.direction_clicked(direction)

    def _direction_at(self, click: Click) -> NDArray[np.float64] | None:
        for key, sphere in ((POSTERIOR, self._right), (VIEWS, self._left)):
            direction = sphere.hit(click.position, click.view_direction)
            if direction is not None and self._kept.shown(key):
                return direction
        return None
