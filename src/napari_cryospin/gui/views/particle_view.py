"""Particle, its best projection and their difference, side by side at one grey scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cryospin.gui.colours import foreground
from napari_cryospin.gui.views.image_box import add_image_box, image_in
from napari_cryospin.gui.views.themed import ThemedWidget

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TITLES = ("particle", "projection × CTF", "difference")


class ParticleView(ThemedWidget):
    """Three images of one particle, row 0 at the top."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        canvas = pg.GraphicsLayoutWidget(parent=self)
        canvas.setBackground(None)
        canvas.ci.layout.setContentsMargins(0, 0, 0, 0)
        canvas.ci.layout.setSpacing(3)
        for column in range(3):
            canvas.ci.layout.setColumnPreferredWidth(column, 100)
            canvas.ci.layout.setColumnStretchFactor(column, 1)
        self._titles = [canvas.addLabel(title, row=0, col=i) for i, title in enumerate(_TITLES)]
        self.images = [image_in(add_image_box(canvas, 1, column)) for column in range(3)]
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(canvas)
        self.restyle()

    def set_images(
        self,
        particle: NDArray[np.float32],
        projection: NDArray[np.float32],
        difference: NDArray[np.float32],
    ) -> None:
        """Show three images of shape (D, D); the particle decides the grey scale."""
        levels = tuple(np.percentile(particle, (0.5, 99.5)))
        for item, image in zip(self.images, (particle, projection, difference), strict=True):
            item.setImage(image, levels=levels)

    def clear(self) -> None:
        """Show nothing."""
        for item in self.images:
            item.clear()

    def restyle(self) -> None:
        """Take the theme's colours."""
        for label in self._titles:
            label.setText(label.text, color=foreground(self), size="8pt")
