"""Closing the window or the dock while a run is under way: it is asked, and nothing freezes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDockWidget, QMessageBox, QPushButton

from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.gui.work.questions import Ending
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QWidget

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock

LONG = 180_000


@pytest.fixture
def training(
    qtbot: QtBot, dock: CryoSpinDock, settings: Settings, tiny_stack: Path, tmp_path: Path
) -> CryoSpinDock:
    """The dock in a window, with a run of which an epoch is done."""
    settings.data.stack = tiny_stack / "particles.star"
    with qtbot.waitSignal(dock.session.epoch_done, timeout=LONG):
        dock.session.start(settings, tmp_path / "run")
    return kept(dock)


def kept(dock: CryoSpinDock) -> CryoSpinDock:
    """Let a window be hidden, not deleted, as it closes: the fixture closes what is left of it."""
    dock.viewer.window._qt_window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    return dock


def answered(ending: Ending | str) -> list[str]:
    """Click a button of the next question; return a list that will hold its text."""
    asked: list[str] = []

    def click() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(20, click)
            return
        asked.append(f"{box.text()} {box.informativeText()}")
        text = ending if isinstance(ending, str) else ending.value
        (button,) = (each for each in box.buttons() if each.text().replace("&", "") == text)
        button.click()

    QTimer.singleShot(20, click)
    return asked


def docked(dock: CryoSpinDock) -> QDockWidget:
    parent = dock.parentWidget()
    while not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def close_dock(dock: CryoSpinDock) -> None:
    docked(dock).titleBarWidget().findChild(QPushButton, "QTitleBarCloseButton").click()


def close_window(dock: CryoSpinDock) -> None:
    dock.viewer.window._qt_window.close()


def gone(dock: CryoSpinDock, widget: QWidget) -> Callable[[], bool]:
    def is_gone() -> bool:
        try:
            return not widget.isVisible()
        except RuntimeError:
            return True

    return is_gone


def test_a_run_that_is_to_go_on_goes_on_until_it_is_discarded(
    qtbot: QtBot, training: CryoSpinDock, tmp_path: Path
) -> None:
    session = training.session
    for close in (close_dock, close_window):
        asked = answered(Ending.GO_ON)
        close(training)
        assert "under way" in asked[0]
        assert training.isVisible()
        with qtbot.waitSignal(session.epoch_done, timeout=LONG):
            pass
        assert session.state is SessionState.RUNNING

    discard = training.run.discard
    asked = answered("Cancel")
    qtbot.mouseClick(discard, Qt.MouseButton.LeftButton)
    assert "maps, poses and checkpoints" in asked[0]
    assert session.state is SessionState.RUNNING
    asked = answered("Discard")
    qtbot.mouseClick(discard, Qt.MouseButton.LeftButton)
    assert asked
    qtbot.waitUntil(lambda: session.state is SessionState.STOPPED, timeout=LONG)
    assert not (tmp_path / "run").exists()
    message = training.run.message.text()
    assert "has been removed" in message and "shown until the next run" in message
    assert not training.results.resume.isEnabled()


@pytest.mark.parametrize(
    ("close", "ending"), [(close_dock, Ending.KEEP), (close_window, Ending.DISCARD)]
)
def test_closing_waits_for_the_run_without_freezing(
    qtbot: QtBot,
    training: CryoSpinDock,
    tmp_path: Path,
    close: Callable[[CryoSpinDock], None],
    ending: Ending,
) -> None:
    session, thread = training.session, training.session._thread.thread
    closed = gone(training, docked(training))
    asked = answered(ending)
    close(training)
    assert asked
    # nothing has been waited for: the run still stops, and says so
    assert not closed()
    assert session.state is SessionState.STOPPING
    assert "closes as soon as" in training.run.message.text()
    qtbot.waitUntil(closed, timeout=LONG)
    assert thread.isFinished()
    run = RunFolder(tmp_path / "run")
    assert bool(run.checkpoints()) == (ending is Ending.KEEP)
    assert run.map_path.exists() == run.path.exists() == (ending is Ending.KEEP)


def test_who_closes_again_does_not_wait(
    qtbot: QtBot, training: CryoSpinDock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # its results take long
    monkeypatch.setattr(
        "napari_cryospin.engine.run.reconstruction.reach_verdicts", lambda *_: time.sleep(4)
    )
    thread, closed = training.session._thread.thread, gone(training, docked(training))
    answered(Ending.KEEP)
    close_window(training)
    assert not closed()
    started = time.monotonic()
    close_window(training)
    assert closed()
    assert time.monotonic() - started < 3
    assert not thread.isFinished()
    qtbot.waitUntil(thread.isFinished, timeout=LONG)
    assert RunFolder(tmp_path / "run").checkpoints()


def test_a_script_that_closes_the_viewer_is_asked_nothing(
    qtbot: QtBot, training: CryoSpinDock, tmp_path: Path
) -> None:
    thread = training.session._thread.thread
    training.viewer.close()
    qtbot.waitUntil(thread.isFinished, timeout=LONG)
    assert RunFolder(tmp_path / "run").checkpoints()


def test_without_a_run_nothing_is_asked(qtbot: QtBot, dock: CryoSpinDock) -> None:
    window, dock_widget = dock.viewer.window._qt_window, docked(kept(dock))
    window_closed, dock_closed = gone(dock, window), gone(dock, dock_widget)
    close_window(dock)
    qtbot.waitUntil(window_closed, timeout=LONG)
    window.show()
    qtbot.waitUntil(lambda: not dock_closed(), timeout=LONG)
    close_dock(dock)
    qtbot.waitUntil(dock_closed, timeout=LONG)
