"""The posterior of the chosen particle on the canvas: which spheres it colours, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Slot

from napari_cryospin.gui.canvas.class_places import places_on
from napari_cryospin.gui.canvas.sphere_layers import PosteriorOnSphere, SphereLayers
from napari_cryospin.gui.colours import class_label
from napari_cryospin.gui.explorer.of_classes import rows_of_class
from napari_cryospin.gui.explorer.pose_panel import candidate_marks
from napari_cryospin.gui.views.mollweide_view import Scale

if TYPE_CHECKING:
    import numpy as np
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_cryospin.gui.explorer.posterior_feed import PosteriorFeed
    from napari_cryospin.gui.explorer.state import Explorer

# cosine of the angle up to which a clicked direction means a mode
_NEAR = 0.99


class PosteriorOnCanvas(QObject):
    """Draws the answers of a feed on spheres, and looks from where these are clicked.

    Parameters
    ----------
    explorer, feed
        What is looked at, and its posterior.
    layers
        The spheres.
    viewer
        Where the maps stand.
    """

    def __init__(
        self,
        explorer: Explorer,
        feed: PosteriorFeed,
        layers: SphereLayers,
        viewer: ViewerModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._explorer, self._feed, self._layers, self._viewer = explorer, feed, layers, viewer
        layers.direction_clicked = self._on_direction_clicked
        explorer.class_changed.connect(self._place)
        viewer.canvas.grid.events.enabled.connect(self._place)

    @Slot()
    def draw(self) -> None:
        """Draw the posterior that was computed last, beside the map that it is against."""
        result = self._feed.result
        if result is None:
            return
        posterior, request = result.posterior, result.request
        self._place()
        self._layers.show_posterior(
            PosteriorOnSphere(
                self._explorer.number(posterior.particle),
                posterior.nside,
                Scale.LOG.values(posterior.direction_probability),
                Scale.LOG.levels,
                class_label(request.of_class) if len(request.volume.maps) > 1 else "",
            )
        )
        self.mark()

    @Slot(object)
    def _place(self, _event: object = None) -> None:
        """Let the spheres stand beside the map that the posterior is against."""
        if self._feed.result is None:
            return
        request = self._feed.result.request
        volume = request.volume
        box, pixel_size = volume.volume.shape[0], volume.pixel_size
        places = places_on(self._viewer, len(volume.maps), self._explorer.shown_class)
        self._layers.set_box(box, pixel_size, places.offset(request.of_class, box * pixel_size))

    def mark(self) -> None:
        """Put candidates and views on the spheres."""
        poses = self._explorer.poses
        if poses is None or self._feed.result is None:
            return
        # candidates as they were for the posterior that they stand on
        marks = candidate_marks(self._feed.result)
        self._layers.show_candidates(
            marks.directions, marks.winner, marks.heads, marks.weights, marks.numbered
        )
        # poses of other classes are relative to other maps
        own = rows_of_class(poses, self._feed.result.request.of_class)
        chosen = slice(None) if own is None else own
        self._layers.show_views(poses.rotations[chosen, 2], poses.winning_head[chosen])

    def _on_direction_clicked(self, direction: NDArray[np.float64]) -> None:
        """Look from a clicked direction, upright as in the particle where a mode is near."""
        rotation = None
        if self._feed.result is not None and len(self._feed.result.posterior.modes):
            modes = self._feed.result.posterior.modes
            nearest = int((modes[:, 2] @ direction).argmax())
            if modes[nearest, 2] @ direction > _NEAR:
                rotation = modes[nearest]
        self._layers.turner.toggle(direction, rotation)
