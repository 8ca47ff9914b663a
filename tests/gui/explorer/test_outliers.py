"""Who belongs to the map, in a real window: the histogram, and the gallery to choose from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cryospin.engine.data.member import APART, BELONGS, OPEN
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.gui.explorer.outliers_panel import OutliersPanel, nearest
from napari_cryospin.gui.explorer.state import Explorer
from napari_cryospin.gui.views.belongs_buttons import BelongsButtons
from napari_cryospin.gui.views.gallery_view import COLUMNS, ROWS, GalleryView
from told_poses import told_poses

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.dock import CryoSpinDock
    from napari_cryospin.gui.work.session import Session

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000


class Click:
    """As pyqtgraph tells of one."""

    def __init__(
        self,
        where: QPointF,
        button: Qt.MouseButton = Qt.MouseButton.LeftButton,
        modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
    ) -> None:
        self._where, self._button, self._modifiers = where, button, modifiers

    def button(self) -> Qt.MouseButton:
        return self._button

    def scenePos(self) -> QPointF:
        return self._where

    def modifiers(self) -> Qt.KeyboardModifier:
        return self._modifiers


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


CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
NONE = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def gallery(qtbot: QtBot) -> GalleryView:
    """A gallery of particles 100 to 111, in a window."""
    gallery = GalleryView()
    qtbot.addWidget(gallery)
    gallery.resize(900, 300)
    with qtbot.waitExposed(gallery):
        gallery.show()
    images = np.random.default_rng(0).random((12, 8, 8))
    gallery.show_images(range(100, 112), images, [""] * 12)
    return gallery


def click(
    qtbot: QtBot, gallery: GalleryView, place: int, modifiers: Qt.KeyboardModifier = NONE
) -> None:
    """Click on an image with the mouse."""
    canvas = gallery._canvas
    middle = gallery.images[place].getViewBox().sceneBoundingRect().center()
    where = canvas.mapFromScene(middle)
    # two clicks at one place would be a double one
    qtbot.mouseMove(canvas.viewport(), where)
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, modifiers, where)


def test_images_are_selected_as_files_are(qtbot: QtBot, gallery: GalleryView) -> None:
    chosen: list[int] = []
    gallery.chosen.connect(chosen.append)
    click(qtbot, gallery, 2)
    assert gallery.selected.tolist() == [102] == chosen
    click(qtbot, gallery, 5, SHIFT)
    assert gallery.selected.tolist() == [102, 103, 104, 105]
    click(qtbot, gallery, 9, CONTROL)
    click(qtbot, gallery, 3, CONTROL)
    assert gallery.selected.tolist() == [102, 104, 105, 109]
    framed = [
        place
        for place, item in enumerate(gallery.images)
        if item.getViewBox().border is not None and item.getViewBox().border.width() == 4
    ]
    assert framed == [2, 4, 5, 9]
    # what is still shown stays selected, whatever else comes
    images = np.zeros((3, 8, 8))
    gallery.show_images([109, 7, 8], images, [""] * 3)
    assert gallery.selected.tolist() == [109]
    # the empty places select none
    click(qtbot, gallery, 12)
    assert not len(gallery.selected)


def test_images_are_selected_by_keys(qtbot: QtBot, gallery: GalleryView) -> None:
    gallery.setFocus()
    qtbot.keyClick(gallery, Qt.Key.Key_Right)
    assert gallery.selected.tolist() == [101]
    qtbot.keyClick(gallery, Qt.Key.Key_Right, SHIFT)
    assert gallery.selected.tolist() == [101, 102]
    qtbot.keyClick(gallery, Qt.Key.Key_Down, CONTROL)
    assert gallery.selected.tolist() == [101, 102]
    qtbot.keyClick(gallery, Qt.Key.Key_Space)
    assert gallery.selected.tolist() == [101, 102, 110]
    # there is no image to the right of the last, nor below
    qtbot.keyClick(gallery, Qt.Key.Key_Down)
    qtbot.keyClick(gallery, Qt.Key.Key_A, CONTROL)
    assert len(gallery.selected) == 12
    qtbot.keyClick(gallery, Qt.Key.Key_Escape)
    assert not len(gallery.selected)


def test_keys_stay_with_the_images_after_a_click_on_a_word(qtbot: QtBot) -> None:
    page = QWidget()
    qtbot.addWidget(page)
    layout, buttons, gallery = QVBoxLayout(page), BelongsButtons(page), GalleryView(page)
    gallery.show_images(range(12), np.random.default_rng(0).random((12, 8, 8)), [""] * 12)
    for widget in (gallery, *buttons.widgets):
        layout.addWidget(widget)
    with qtbot.waitExposed(page):
        page.show()
    page.activateWindow()
    qtbot.waitUntil(page.isActiveWindow)
    gallery.setFocus()
    qtbot.keyClick(gallery, Qt.Key.Key_Right)
    buttons.set_state(selected=1, can_undo=True)
    for button in buttons.widgets:
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        assert page.focusWidget() is gallery
    qtbot.keyClick(page.focusWidget(), Qt.Key.Key_Escape)
    assert not len(gallery.selected)


def test_all_that_were_said_by_hand_can_be_seen(qtbot: QtBot, session: Session) -> None:
    by_hand = np.where(np.arange(60) % 3 == 2, APART, OPEN).astype(np.int8)
    by_hand[:20] = BELONGS
    said = np.flatnonzero(by_hand).tolist()
    assert len(said) == 34
    session.particles = SimpleNamespace(
        n=60, rows=np.arange(60), image=lambda row: np.full((4, 4), row)
    )
    explorer = Explorer(session)
    explorer.poses = told_poses(60, by_hand=by_hand)
    page = OutliersPanel(explorer)
    qtbot.addWidget(page)
    page.resize(900, 400)
    page.show()
    gallery = page.gallery
    qtbot.waitUntil(lambda: len(gallery.particles) == 16, timeout=LONG)
    assert "of" not in page.words.text() and page.more.isHidden()
    page.shown.setCurrentText("Said by hand")
    for first, last in ((0, 16), (16, 32), (32, 34), (0, 16)):
        shown = said[first:last]
        qtbot.waitUntil(lambda shown=shown: gallery.particles == shown, timeout=LONG)
        assert page.words.text().startswith(f"{first + 1}–{last} of 34.")
        # also from images that are selected
        gallery.setFocus()
        qtbot.keyClick(gallery, Qt.Key.Key_A, CONTROL)
        assert page.words.text().startswith(f"{last - first} selected")
        qtbot.mouseClick(page.more, Qt.MouseButton.LeftButton)
    # of another kind there are no more
    page.shown.setCurrentText("In doubt")
    qtbot.waitUntil(page.more.isHidden, timeout=LONG)
    assert "of" not in page.words.text()


@pytest.mark.parametrize(("wanted", "expected"), [(0.0, {0, 1}), (1.0, {3, 4}), (0.5, {2, 1})])
def test_the_nearest_are_taken(wanted: float, expected: set[int]) -> None:
    memberships = np.array([0.0, 0.1, 0.45, 0.98, 1.0])
    assert set(nearest(memberships, wanted, 2).tolist()) == expected
    assert len(nearest(memberships, wanted, 50)) == 5
