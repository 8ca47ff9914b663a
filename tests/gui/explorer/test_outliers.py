"""Who belongs to the map, in a real window: the histogram, and the gallery to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt

from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.gui.explorer.outliers_panel import nearest
from napari_cryospin.gui.views.gallery_view import COLUMNS, ROWS, GalleryView

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.dock import CryoSpinDock

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000


class Click:
    """As pyqtgraph tells of one."""

    def __init__(self, where: QPointF, button: Qt.MouseButton = Qt.MouseButton.LeftButton) -> None:
        self._where, self._button = where, button

    def button(self) -> Qt.MouseButton:
        return self._button

    def scenePos(self) -> QPointF:
        return self._where


def test_the_images_of_each_kind_are_shown_and_chosen(
    qtbot: QtBot, dock: CryoSpinDock, finished_run: Path
) -> None:
    panel = dock.posterior
    panel.explorer.options = PosteriorOptions(nside=4)
    with qtbot.waitSignal(dock.session.run_opened, timeout=LONG):
        dock.open_path(finished_run)
    dock.open_posterior.setChecked(True)
    page = panel.outliers
    panel.tabs.setCurrentWidget(page)
    gallery, poses = page.gallery, panel.explorer.poses
    qtbot.waitUntil(lambda: gallery.particle_at(0) is not None, timeout=LONG)
    assert poses is not None
    for place, extreme in ((0, min), (2, max)):
        before = gallery.images[0].image
        page.shown.setCurrentIndex(place)
        if place:
            qtbot.waitUntil(lambda old=before: gallery.images[0].image is not old, timeout=LONG)
        rows = [row for n in range(COLUMNS * ROWS) if (row := gallery.particle_at(n)) is not None]
        shown = poses.membership[rows]
        usual = np.sort(poses.membership[poses.used])
        expected = usual[: len(rows)] if extreme is min else usual[-len(rows) :]
        assert np.allclose(np.sort(shown), expected, atol=2e-3)
        assert panel.explorer.particles is not None
        assert np.array_equal(gallery.images[1].image, panel.explorer.particles.image(rows[1]))
        assert gallery.labels[1].text == f"{panel.explorer.number(rows[1])}: {shown[1]:.2f}"
    middle = gallery.images[3].getViewBox().sceneBoundingRect().center()
    gallery._on_click(Click(middle, Qt.MouseButton.RightButton))
    gallery._on_click(Click(middle))
    assert panel.explorer.particle == gallery.particle_at(3)
    assert "outliers" in page.histogram._title


def test_a_gallery_of_few_leaves_the_rest_empty(qtbot: QtBot) -> None:
    gallery = GalleryView()
    qtbot.addWidget(gallery)
    gallery.show_images([7, 9], np.random.default_rng(0).random((2, 8, 8)), ["a", "b"])
    assert [gallery.particle_at(place) for place in (0, 1, 2)] == [7, 9, None]
    gallery.show_images([], np.empty((0, 1, 1)), [])
    assert gallery.particle_at(0) is None and gallery.images[0].image is None


@pytest.mark.parametrize(("wanted", "expected"), [(0.0, {0, 1}), (1.0, {3, 4}), (0.5, {2, 1})])
def test_the_nearest_are_taken(wanted: float, expected: set[int]) -> None:
    memberships = np.array([0.0, 0.1, 0.45, 0.98, 1.0])
    assert set(nearest(memberships, wanted, 2).tolist()) == expected
    assert len(nearest(memberships, wanted, 50)) == 5
