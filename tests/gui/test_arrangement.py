"""How the docks lie in a real napari window: at first, and as the user has left them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget

from napari_cryospin.gui import arrangement
from napari_cryospin.gui.arrangement import EXPLORER
from napari_cryospin.gui.launch import dock_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.dock import CryoSpinDock

LONG = 60_000
# logical pixels: a laptop; 1920 × 1080 at 150 %; 1920 × 1080
SMALL, ENLARGED, LARGE = (1366, 768), (1280, 720), (1920, 1080)


@pytest.fixture
def opened(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot
) -> Callable[[tuple[int, int]], CryoSpinDock]:
    """Open the dock in a window of a size, and wait until it is arranged."""
    arrangement._settings().clear()

    def open_at(size: tuple[int, int]) -> CryoSpinDock:
        viewer = make_napari_viewer(show=True)
        viewer.window._qt_window.resize(*size)
        qtbot.waitUntil(lambda: viewer.window._qt_window.width() == size[0], timeout=LONG)
        dock = dock_of(viewer)
        dock.viewer = viewer
        qtbot.waitUntil(lambda: dock_around(dock.posterior) is not None, timeout=LONG)
        qtbot.wait(200)
        return dock

    return open_at


def dock_around(widget: object) -> QDockWidget | None:
    return arrangement._dock_around(widget)


def canvas_share(dock: CryoSpinDock) -> float:
    """Share of the window's width that the canvas takes."""
    window = dock.viewer.window
    return window._qt_viewer.width() / window._qt_window.width()


@pytest.mark.parametrize("size", [SMALL, ENLARGED])
def test_a_small_screen_belongs_to_the_canvas(
    qtbot: QtBot, opened: Callable[[tuple[int, int]], CryoSpinDock], size: tuple[int, int]
) -> None:
    dock = opened(size)
    window = dock.viewer.window._qt_window
    # napari's tallest controls of a layer
    dock.viewer.add_image(np.zeros((8, 8, 8)), rendering="iso")
    dock.viewer.dims.ndisplay = 3
    assert canvas_share(dock) >= 0.45
    assert not dock.arrangement.shows_explorer and not dock.open_posterior.isChecked()
    qtbot.mouseClick(dock.open_posterior, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(dock.posterior.isVisible, timeout=LONG)
    for place in range(dock.posterior.tabs.count()):
        dock.posterior.tabs.setCurrentIndex(place)
        qtbot.wait(50)
        # nothing is pushed off the screen, with title and task bars around
        assert (window.width(), window.height()) == size
        assert window.minimumSizeHint().height() <= 680
    assert canvas_share(dock) >= 0.45
    # wide, below the canvas; the Run box beside both
    assert dock.posterior.width() > 0.6 * window.width()
    assert dock.run.isVisible() and dock.run.visibleRegion().boundingRect() == dock.run.rect()


def test_a_large_screen_has_room_for_the_explorer(
    opened: Callable[[tuple[int, int]], CryoSpinDock],
) -> None:
    dock = opened(LARGE)
    assert dock.arrangement.shows_explorer and dock.open_posterior.isChecked()
    assert canvas_share(dock) >= 0.55
    assert dock.viewer.window._qt_viewer.height() >= 0.5 * LARGE[1]


def test_the_dock_is_useful_when_it_is_narrow(
    qtbot: QtBot, opened: Callable[[tuple[int, int]], CryoSpinDock]
) -> None:
    dock = opened(SMALL)
    dock.viewer.window._qt_window.resizeDocks([dock_around(dock)], [10], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: dock.width() <= 345, timeout=LONG)
    for page in (dock.data, dock.training, dock.monitor, dock.results, dock.run):
        if page is not dock.run:
            dock.tabs.setCurrentWidget(page)
        qtbot.wait(50)
        # nothing is cut off at the right
        assert page.minimumSizeHint().width() <= page.width() <= 345
    dock.tabs.setCurrentWidget(dock.monitor)
    monitor = dock.monitor
    for plot in (
        monitor.loss,
        monitor.gain,
        monitor.switch,
        monitor.pose_error,
        monitor.resolution,
    ):
        plot.show()
        qtbot.wait(50)
        title = plot.getPlotItem().titleLabel.item
        assert plot.rect().contains(plot.mapFromScene(title.sceneBoundingRect()).boundingRect())


def test_the_users_own_arrangement_is_remembered(
    qtbot: QtBot, opened: Callable[[tuple[int, int]], CryoSpinDock]
) -> None:
    dock = opened(SMALL)
    window = dock.viewer.window._qt_window
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock_around(dock))
    dock.open_posterior.setChecked(True)
    qtbot.waitUntil(dock.posterior.isVisible, timeout=LONG)
    dock.arrangement.remember()
    again = opened(SMALL)
    window = again.viewer.window._qt_window
    left = Qt.DockWidgetArea.LeftDockWidgetArea
    qtbot.waitUntil(lambda: window.dockWidgetArea(dock_around(again)) == left, timeout=LONG)
    assert again.arrangement.shows_explorer and again.open_posterior.isChecked()


def test_an_explorer_that_was_closed_opens_again(
    qtbot: QtBot, opened: Callable[[tuple[int, int]], CryoSpinDock]
) -> None:
    dock = opened(LARGE)
    dock_around(dock.posterior).destroyOnClose()
    qtbot.waitUntil(lambda: not dock.open_posterior.isChecked(), timeout=LONG)
    qtbot.mouseClick(dock.open_posterior, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(dock.posterior.isVisible, timeout=LONG)
    assert dock_around(dock.posterior) is not None


def test_an_explorer_that_is_asked_for_at_once_is_docked_once(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot
) -> None:
    arrangement._settings().clear()
    dock = dock_of(make_napari_viewer(show=True))
    dock.open_posterior.setChecked(True)
    qtbot.wait(200)
    window = dock.window()
    assert len(window.findChildren(QDockWidget, EXPLORER)) == 1
    # no button of it is cut off where it is narrow
    window.resizeDocks([dock_around(dock.posterior)], [10], Qt.Orientation.Horizontal)
    qtbot.wait(200)
    for button in (dock.posterior.random, dock.posterior.give_back):
        assert button.width() >= button.minimumSizeHint().width()


def test_the_explorer_goes_with_the_dock(
    qtbot: QtBot, opened: Callable[[tuple[int, int]], CryoSpinDock]
) -> None:
    dock = opened(LARGE)
    window = dock.viewer.window
    dock_around(dock).destroyOnClose()
    qtbot.waitUntil(lambda: not window._qt_window.findChildren(QDockWidget, EXPLORER), timeout=LONG)
    assert EXPLORER not in window.dock_widgets
    # and comes with the next
    again = dock_of(dock.viewer)
    qtbot.waitUntil(lambda: dock_around(again.posterior) is not None, timeout=LONG)
    assert again is not dock
