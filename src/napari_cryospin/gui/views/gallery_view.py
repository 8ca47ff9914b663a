"""Images of particles side by side, with how probable it is that each shows the particle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cryospin.engine.data.member import MEMBER
from napari_cryospin.gui.colours import foreground
from napari_cryospin.gui.views.image_box import add_image_box, image_in
from napari_cryospin.gui.views.themed import ThemedPlot, ThemedWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# images in a row, and rows
COLUMNS, ROWS = 8, 2
_BINS = 20


class MembershipHistogram(ThemedPlot):
    """How many images are how likely to show the particle."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Memberships", "images (%)", "belongs", parent)
        self._bars = pg.BarGraphItem(x=[], height=[], width=0.9 / _BINS)
        self.addItem(self._bars)
        self.setXRange(0, 1, padding=0.02)
        self.setMinimumWidth(220)

    def set_memberships(self, memberships: NDArray[np.floating]) -> None:
        """Show the memberships of images, (n,)."""
        counts, edges = np.histogram(memberships, _BINS, (0.0, 1.0))
        share = 100 * counts / max(len(memberships), 1)
        self._bars.setOpts(x=(edges[1:] + edges[:-1]) / 2, height=share, brush="#56B4E9", pen=None)
        outliers = float((np.asarray(memberships) < MEMBER).mean()) if len(memberships) else 0.0
        self.say(f"{100 * outliers:.0f} % outliers")


class GalleryView(ThemedWidget):
    """Images in rows; a click on one chooses its particle."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._particles: list[int] = []
        self._canvas = pg.GraphicsLayoutWidget(parent=self)
        self._canvas.setBackground(None)
        self._canvas.ci.layout.setContentsMargins(0, 0, 0, 0)
        self._canvas.ci.layout.setSpacing(2)
        self.images: list[pg.ImageItem] = []
        self.labels: list[pg.LabelItem] = []
        for place in range(COLUMNS * ROWS):
            row, column = divmod(place, COLUMNS)
            self.labels.append(self._canvas.addLabel("", row=2 * row, col=column))
            self.images.append(image_in(add_image_box(self._canvas, 2 * row + 1, column)))
        self._canvas.scene().sigMouseClicked.connect(self._on_click)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._canvas)
        self.setMinimumHeight(170)
        self.restyle()

    def show_images(
        self, particles: Sequence[int], images: NDArray[np.floating], words: Sequence[str]
    ) -> None:
        """Show images (m, D, D) of particles, with a word above each; the rest stays empty."""
        self._particles = list(particles)[: len(self.images)]
        for place, (item, label) in enumerate(zip(self.images, self.labels, strict=True)):
            if place < len(self._particles):
                levels = tuple(np.percentile(images[place], (0.5, 99.5)))
                item.setImage(images[place], levels=levels)
            else:
                item.clear()
            text = words[place] if place < len(self._particles) else ""
            label.setText(text, color=foreground(self).name(), size="8pt")

    def particle_at(self, place: int) -> int | None:
        """Return the particle that is shown at a place, from 0; None where there is none."""
        return self._particles[place] if place < len(self._particles) else None

    def _on_click(self, event: object) -> None:
        if event.button() != Qt.MouseButton.LeftButton:  # type: ignore[attr-defined]
            return
        position = event.scenePos()  # type: ignore[attr-defined]
        for place, item in enumerate(self.images):
            particle = self.particle_at(place)
            if particle is not None and item.getViewBox().sceneBoundingRect().contains(position):
                self.chosen.emit(particle)

    def restyle(self) -> None:
        """Take the theme's colours."""
        for label in self.labels:
            label.setText(label.text, color=foreground(self).name(), size="8pt")
