"""The Outliers tab of the explorer: who belongs to the map, and what those who do not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Slot
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_cryospin.gui.views.gallery_view import COLUMNS, ROWS, GalleryView, MembershipHistogram
from napari_cryospin.gui.views.scrolling import scrolling_layout
from napari_cryospin.gui.work.background import Background

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.gui.explorer.state import Explorer

# what the gallery shows, and the membership that its images lie next to
_SHOWN = {"Least likely to belong": 0.0, "In doubt": 0.5, "Most likely to belong": 1.0}


class OutliersPanel(QWidget):
    """A histogram of the memberships, and a gallery of the images of one kind.

    Parameters
    ----------
    explorer
        What is looked at.
    """

    def __init__(self, explorer: Explorer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self.histogram, self.gallery = MembershipHistogram(self), GalleryView(self)
        self.shown = QComboBox(self)
        self.shown.addItems(list(_SHOWN))
        self.shown.setToolTip("Which images are shown, one of several alike by chance")
        self.words = QLabel("Click an image to look at its posterior.", self)
        top = QHBoxLayout()
        top.addWidget(self.shown)
        top.addWidget(self.words, 1)
        right = QVBoxLayout()
        right.addLayout(top)
        right.addWidget(self.gallery, 1)
        across = QHBoxLayout()
        across.addWidget(self.histogram, 1)
        across.addLayout(right, 3)
        layout = scrolling_layout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addLayout(across, 1)
        self._background = Background(self)
        self._background.done.connect(self._on_read)
        self._background.failed.connect(explorer.message)
        self.shown.currentIndexChanged.connect(self._refresh)
        self.gallery.chosen.connect(explorer.choose)
        explorer.poses_changed.connect(self._refresh)
        explorer.run_changed.connect(self._refresh)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what happened while the tab was hidden."""
        super().showEvent(event)
        self._refresh()

    @Slot()
    @Slot(int)
    @Slot(object)
    def _refresh(self, _event: object = None) -> None:
        poses, particles = self._explorer.poses, self._explorer.particles
        if not self.isVisible():
            return
        if poses is None or particles is None:
            self.histogram.set_memberships(np.empty(0))
            self.gallery.show_images([], np.empty((0, 1, 1)), [])
            return
        used = np.flatnonzero(poses.used & (poses.winner >= 0))
        memberships, wanted = poses.membership[used], _SHOWN[self.shown.currentText()]

        def task() -> tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.floating]]:
            rows = used[nearest(memberships, wanted, COLUMNS * ROWS)]
            images = [particles.image(int(row)) for row in rows]
            return memberships, rows, np.array(images) if images else np.empty((0, 1, 1))

        self._background.submit(task)

    @Slot(object)
    def _on_read(
        self, answer: tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.floating]]
    ) -> None:
        memberships, rows, images = answer
        poses = self._explorer.poses
        if poses is None or len(poses.membership) <= rows.max(initial=-1):
            return
        self.histogram.set_memberships(memberships)
        words = [f"{self._explorer.number(row)}: {poses.membership[row]:.2f}" for row in rows]
        self.gallery.show_images(rows.tolist(), images, words)


def nearest(memberships: NDArray[np.floating], wanted: float, number: int) -> NDArray[np.int64]:
    """Return which memberships (n,) lie nearest to one that is wanted, (≤ number,), ascending.

    Of those that lie as near some are taken at random, the same ones each time.
    """
    at_random = np.random.default_rng(0).permutation(len(memberships))
    order = np.argsort(np.abs(memberships[at_random] - wanted).round(3), kind="stable")
    return np.sort(at_random[order[:number]]).astype(np.int64)
