"""The Outliers tab of the explorer: who belongs to the map, and what those who do not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Slot
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_cryospin.engine.data.member import OPEN
from napari_cryospin.gui.views.belongs_buttons import MARKS, BelongsButtons
from napari_cryospin.gui.views.flowing import turning_row
from napari_cryospin.gui.views.gallery_view import COLUMNS, ROWS, GalleryView, MembershipHistogram
from napari_cryospin.gui.views.scrolling import scrolling_layout
from napari_cryospin.gui.work.background import Background
from napari_cryospin.gui.work.by_hand import by_hand_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.gui.explorer.state import Explorer

# what the gallery shows, and the membership that its images lie next to
_SHOWN = {
    "Least likely to belong": 0.0,
    "In doubt": 0.5,
    "Most likely to belong": 1.0,
    "Said by hand": None,
}
_HINT = "Click: its posterior; Ctrl, Shift: several."
# images that the gallery has room for
_MOST = COLUMNS * ROWS

# memberships of all; rows and images that are shown, which one of how many is the first of them
_Answer = tuple["NDArray[np.floating]", "NDArray[np.int64]", "NDArray[np.floating]", int, int]


class OutliersPanel(QWidget):
    """A histogram of the memberships, and a gallery of the images of one kind, to choose from.

    Parameters
    ----------
    explorer
        What is looked at.
    """

    def __init__(self, explorer: Explorer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._explorer, self._by_hand = explorer, explorer.session.by_hand
        self.histogram, self.gallery = MembershipHistogram(self), GalleryView(self)
        self.shown = QComboBox(self)
        self.shown.addItems(list(_SHOWN))
        self.shown.setToolTip("Which images are shown, one of several alike by chance")
        self.words = QLabel(_HINT, self)
        self.more = QPushButton(f"Next {_MOST}", self)
        self.more.setToolTip("Show the next of these images; after the last come the first")
        # the keys stay with the images
        self.more.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.more.hide()
        # of all that could be shown, which is the first image
        self._first = self._of = 0
        self.buttons = BelongsButtons(self)
        self._build()
        self._background = Background(self)
        self._background.done.connect(self._on_read)
        self._background.failed.connect(explorer.message)
        self.shown.currentIndexChanged.connect(self._on_kind)
        self.more.clicked.connect(self._on_more)
        self.gallery.chosen.connect(explorer.choose)
        self.gallery.selection_changed.connect(self._on_selection)
        self.buttons.said.connect(self._on_said)
        self.buttons.undo_asked.connect(self._by_hand.undo)
        self._by_hand.changed.connect(self._on_by_hand)
        explorer.poses_changed.connect(self._refresh)
        explorer.run_changed.connect(self._on_run)

    def _build(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.shown)
        top.addWidget(self.words, 1)
        top.addWidget(self.more)
        right = QVBoxLayout()
        right.addLayout(top)
        right.addWidget(self.gallery, 1)
        right.addLayout(turning_row(self, *self.buttons.widgets))
        across = QHBoxLayout()
        across.addWidget(self.histogram, 1)
        across.addLayout(right, 3)
        layout = scrolling_layout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addLayout(across, 1)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what happened while the tab was hidden."""
        super().showEvent(event)
        self._refresh()

    @Slot(object)
    def _refresh(self, _event: object = None) -> None:
        poses, particles = self._explorer.poses, self._explorer.particles
        if not self.isVisible():
            return
        if poses is None or particles is None:
            self.histogram.set_memberships(np.empty(0))
            self.gallery.show_images([], np.empty((0, 1, 1)), [])
            self._of = 0
            self.more.hide()
            return
        used = np.flatnonzero(poses.used & (poses.winner >= 0))
        memberships, by_hand = poses.membership[used], by_hand_of(poses)[used]
        if len(self.gallery.selected):
            # who chooses among images is not shown others
            self.histogram.set_memberships(memberships)
            self.gallery.show_words(self._words_of(self.gallery.particles))
            return
        wanted, first = _SHOWN[self.shown.currentText()], self._first

        def task() -> _Answer:
            if wanted is None:
                said = np.flatnonzero(by_hand != OPEN)
                at, of = (first if first < len(said) else 0), len(said)
                places = said[at : at + _MOST]
            else:
                at, places = 0, nearest(memberships, wanted, _MOST)
                of = len(places)
            images = [particles.image(int(row)) for row in used[places]]
            return (
                memberships,
                used[places],
                np.array(images) if images else np.empty((0, 1, 1)),
                at,
                of,
            )

        self._background.submit(task)

    @Slot(object)
    def _on_read(self, answer: _Answer) -> None:
        memberships, rows, images, first, of = answer
        poses = self._explorer.poses
        if poses is None or len(poses.membership) <= rows.max(initial=-1):
            return
        self.histogram.set_memberships(memberships)
        # one was selected meanwhile
        if not len(self.gallery.selected):
            self._first, self._of = first, of
            self.gallery.show_images(rows.tolist(), images, self._words_of(rows.tolist()))
            self.more.setVisible(of > _MOST)
            self._on_by_hand()

    def _words_of(self, particles: list[int]) -> list[str]:
        poses = self._explorer.poses
        if poses is None:
            return [""] * len(particles)
        by_hand = by_hand_of(poses)
        return [
            f"{self._explorer.number(row)}: {poses.membership[row]:.2f}{MARKS[int(by_hand[row])]}"
            for row in particles
        ]

    @Slot()
    def _on_run(self) -> None:
        self._first = 0
        self.gallery.clear_selection()
        self._refresh()

    @Slot()
    def _on_more(self) -> None:
        self._show_from(self._first + _MOST)

    @Slot()
    def _on_kind(self) -> None:
        self._show_from(0)

    def _show_from(self, first: int) -> None:
        self._first = first
        # selecting none shows those of the kind
        if len(self.gallery.selected):
            self.gallery.clear_selection()
        else:
            self._refresh()

    @Slot()
    def _on_selection(self) -> None:
        self._on_by_hand()
        if not len(self.gallery.selected):
            self._refresh()

    @Slot()
    def _on_by_hand(self) -> None:
        selected = len(self.gallery.selected)
        shown = len(self.gallery.particles)
        part = f"{self._first + 1}–{self._first + shown} of {self._of:,}. "
        hint = f"{part if self._of > shown else ''}{_HINT}"
        self.words.setText(f"{selected} selected, and stay; Esc: none." if selected else hint)
        self.buttons.set_state(selected=selected, can_undo=self._by_hand.can_undo)

    @Slot(int)
    def _on_said(self, word: int) -> None:
        self._by_hand.say(self.gallery.selected, word)


def nearest(memberships: NDArray[np.floating], wanted: float, number: int) -> NDArray[np.int64]:
    """Return which memberships (n,) lie nearest to one that is wanted, (≤ number,), ascending.

    Of those that lie as near some are taken at random, the same ones each time.
    """
    at_random = np.random.default_rng(0).permutation(len(memberships))
    order = np.argsort(np.abs(memberships[at_random] - wanted).round(3), kind="stable")
    return np.sort(at_random[order[:number]]).astype(np.int64)
