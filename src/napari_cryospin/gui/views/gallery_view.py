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
    from qtpy.QtGui import QFocusEvent, QKeyEvent

# images in a row, and rows
COLUMNS, ROWS = 8, 2
_BINS = 20
# of the frames of what is selected: seen on black, grey and white alike
_SELECTED = "#E69F00"
_STEPS = {
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_Up: -COLUMNS,
    Qt.Key.Key_Down: COLUMNS,
}


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
    """Images in rows, to choose from: by mouse as in a list of files, or by arrows and Space.

    ``chosen`` carries the particle that was gone to; :attr:`selected` are those that are framed.
    """

    chosen = Signal(int)
    selection_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._particles: list[int] = []
        self._selected: set[int] = set()
        # places: where the keys are, and from where a range is selected
        self._place = self._anchor = 0
        self._canvas = pg.GraphicsLayoutWidget(parent=self)
        self._canvas.setBackground(None)
        # keys are for the gallery itself
        self._canvas.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        # a frame is drawn on the edge of its image
        self._canvas.ci.layout.setContentsMargins(2, 0, 2, 5)
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
        for place, item in enumerate(self.images):
            if place < len(self._particles):
                levels = tuple(np.percentile(images[place], (0.5, 99.5)))
                item.setImage(images[place], levels=levels)
            else:
                item.clear()
        self.show_words(words)
        self._place = self._anchor = 0
        self._select(self._selected & set(self._particles))

    def show_words(self, words: Sequence[str]) -> None:
        """Show other words above the images, which stay."""
        for place, label in enumerate(self.labels):
            text = words[place] if place < len(self._particles) else ""
            label.setText(text, color=foreground(self).name(), size="8pt")

    @property
    def particles(self) -> list[int]:
        """Particles that are shown, in order."""
        return list(self._particles)

    @property
    def selected(self) -> NDArray[np.int64]:
        """Particles that are selected, ascending."""
        return np.array(sorted(self._selected), dtype=np.int64)

    def clear_selection(self) -> None:
        """Select none."""
        self._select(set())

    def particle_at(self, place: int) -> int | None:
        """Return the particle that is shown at a place, from 0; None where there is none."""
        return self._particles[place] if 0 <= place < len(self._particles) else None

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Go by arrows, with Shift to select on the way and Ctrl to leave the selection alone."""
        assert event is not None
        step, modifiers = _STEPS.get(Qt.Key(event.key())), event.modifiers()
        control = bool(modifiers & Qt.KeyboardModifier.ControlModifier)
        if step is not None and self.particle_at(self._place + step) is not None:
            self._go_to(self._place + step, modifiers, toggles=False)
        elif event.key() == Qt.Key.Key_Space and self._particles:
            self._select(self._selected ^ {self._particles[self._place]})
        elif event.key() == Qt.Key.Key_A and control:
            self._select(set(self._particles))
        elif event.key() == Qt.Key.Key_Escape and self._selected:
            self.clear_selection()
        elif step is None:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent | None) -> None:
        """Show where the keys are."""
        super().focusInEvent(event)
        self.restyle()

    def focusOutEvent(self, event: QFocusEvent | None) -> None:
        """Show it no more."""
        super().focusOutEvent(event)
        self.restyle()

    def _on_click(self, event: object) -> None:
        if event.button() != Qt.MouseButton.LeftButton:  # type: ignore[attr-defined]
            return
        position = event.scenePos()  # type: ignore[attr-defined]
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        for place, item in enumerate(self.images):
            if item.getViewBox().sceneBoundingRect().contains(position):
                if self.particle_at(place) is not None:
                    self._go_to(place, event.modifiers(), toggles=True)  # type: ignore[attr-defined]
                    return
        self.clear_selection()

    def _go_to(self, place: int, modifiers: Qt.KeyboardModifier, *, toggles: bool) -> None:
        """Go to a place, and select as a list of files does; Ctrl ``toggles`` or leaves it."""
        particle = self._particles[place]
        self._place = place
        if modifiers & Qt.KeyboardModifier.ShiftModifier:
            first, last = sorted((self._anchor, place))
            selected = set(self._particles[first : last + 1])
        elif modifiers & Qt.KeyboardModifier.ControlModifier:
            selected = self._selected ^ {particle} if toggles else self._selected
            self._anchor = place
        else:
            selected, self._anchor = {particle}, place
        self._select(selected)
        self.chosen.emit(particle)

    def _select(self, selected: set[int]) -> None:
        changed, self._selected = selected != self._selected, selected
        self._frame()
        if changed:
            self.selection_changed.emit()

    def _frame(self) -> None:
        """Draw a frame around what is selected, and a dashed one where the keys are."""
        here = pg.mkPen(foreground(self).name(), style=Qt.PenStyle.DashLine)
        for place, item in enumerate(self.images):
            pen = None
            if self.hasFocus() and place == self._place and self._particles:
                pen = here
            if self.particle_at(place) in self._selected:
                pen = pg.mkPen(_SELECTED, width=4)
            item.getViewBox().setBorder(pen)

    def restyle(self) -> None:
        """Take the theme's colours."""
        for label in self.labels:
            label.setText(label.text, color=foreground(self).name(), size="8pt")
        self._frame()
