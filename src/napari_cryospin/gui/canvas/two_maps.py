"""Two maps in one canvas, one seen through the other; a slider goes from one to the other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.layers import Image
from napari.utils.colormaps import Colormap
from qtpy.QtCore import QObject

from napari_cryospin.gui.canvas.camera import show_right_handed
from napari_cryospin.gui.canvas.kept_layers import KeptLayers
from napari_cryospin.gui.canvas.layers import CONTRAST_LIMITS, ISO_THRESHOLD, in_sigma
from napari_cryospin.gui.canvas.units import TAG

if TYPE_CHECKING:
    import numpy as np
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

FIRST, SECOND = "compared map 1", "compared map 2"
COLOURS = {FIRST: "#56B4E9", SECOND: "#E69F00"}
_RED_GREEN_BLUE = (slice(1, 3), slice(3, 5), slice(5, 7))


class ComparedMaps(QObject):
    """Two iso surfaces, blue and orange; while they are shown the live map is hidden.

    Parameters
    ----------
    viewer
        Where the layers are made.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._kept = KeptLayers(viewer, (FIRST, SECOND), self)
        self._blend = 0.5
        self._hidden: list[Layer] = []

    def layer(self, key: str) -> Layer | None:
        """Return one of the two layers, while it stands."""
        return self._kept.get(key)

    def show(self, maps: dict[str, tuple[NDArray[np.float32], float]]) -> None:
        """Show maps by :data:`FIRST` and :data:`SECOND`, each (D, D, D) with its Å per pixel."""
        self._hide_others()
        for key, (volume, pixel_size) in maps.items():
            self._kept.draw(key, partial(self._draw, key, volume, pixel_size))

    def put_away(self) -> None:
        """Hide both, and show again what was hidden for them."""
        for key in (FIRST, SECOND):
            self._kept.put_away(key)
        for layer in self._hidden:
            if layer in self._viewer.layers:
                layer.visible = True
        self._hidden.clear()

    def blend(self, share: float) -> None:
        """Go from the first map (0) to the second (1); between them both are seen."""
        self._blend = share
        for key in (FIRST, SECOND):
            layer = self._kept.get(key)
            if layer is not None:
                layer.opacity = self._opacity(key)

    def _opacity(self, key: str) -> float:
        share = self._blend if key == SECOND else 1 - self._blend
        return min(2 * share, 1.0)

    def _hide_others(self) -> None:
        for layer in self._viewer.layers:
            other = TAG in layer.metadata and layer.metadata[TAG] not in COLOURS
            if other and layer.visible:
                layer.visible = False
                self._hidden.append(layer)

    def _draw(self, key: str, volume: NDArray[np.float32], pixel_size: float) -> None:
        shown, scale = in_sigma(volume), (pixel_size,) * 3
        layer = self._kept.get(key)
        if layer is not None:
            layer.data = shown
            if tuple(layer.scale) != scale:
                layer.scale = scale
            return
        first = not len(self._viewer.layers)
        rgb = [int(COLOURS[key][part], 16) / 255 for part in _RED_GREEN_BLUE]
        layer = Image(
            shown,
            name=key,
            scale=scale,
            rendering="iso",
            iso_threshold=ISO_THRESHOLD,
            contrast_limits=CONTRAST_LIMITS,
            colormap=Colormap([[0, 0, 0, 1], [*rgb, 1]], name=key),
            opacity=self._opacity(key),
            metadata={TAG: key},
        )
        self._kept.add(key, layer)
        if first:
            self._viewer.dims.ndisplay = 3
            show_right_handed(self._viewer.scene.camera)
            self._viewer.reset_view()
