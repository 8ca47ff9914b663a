"""A run that is steered in a real window, drawn as it was, and repeated by what it copies."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QPushButton

from command_calls import call
from disturbed import is_same
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.gui.panels.monitor_panel import MonitorPanel
from napari_cryospin.gui.work.session import Session
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.events import Switched
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000


def press(qtbot: QtBot, dock: CryoSpinDock, name: str) -> None:
    button = dock.findChild(QPushButton, name)
    qtbot.waitUntil(button.isEnabled, timeout=LONG)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def lines(monitor: MonitorPanel) -> list[float]:
    """Return where the Monitor has drawn that a stage begins."""
    plot = monitor.loss
    shown = [line.value() for line in plot._lines if line.isVisible()]
    assert shown == [line.value() for line in monitor.resolution._lines if line.isVisible()]
    return shown


def place(switched: Switched) -> float:
    """Return where a switch by hand was, in epochs; not where an epoch ends."""
    assert switched.by == "hand" and 0 <= switched.batch < switched.n_batches
    return switched.epoch - 1 + switched.batch / switched.n_batches


def test_a_steered_run_is_drawn_and_repeated(
    qtbot: QtBot, dock: CryoSpinDock, settings: Settings, tmp_path: Path
) -> None:
    session = dock.session
    # an epoch of many batches: there is time to press a button within it
    settings.stages[0].batch_size = 16
    # not judged: that takes most of the time
    settings.held_out = 0.0
    with qtbot.waitSignal(session.table_changed, timeout=LONG):
        dock.open_path(settings.data.stack)
    dock.training.show_settings(settings)
    dock.training.run_folder.value = tmp_path / "run"
    with qtbot.waitSignal(session.poses_updated, timeout=LONG):
        press(qtbot, dock, "run_start")

    # without a few particles from the next epoch on
    used = session.latest_poses.used.copy()
    used[[3, 4, 5, 70]] = False
    session.set_used(used)
    with qtbot.waitSignal(session.batch_done, timeout=LONG, check_params_cb=second_epoch):
        pass
    with qtbot.waitSignal(session.switched, timeout=LONG) as caught:
        press(qtbot, dock, "run_switch")
    (switched,) = caught.args
    batch = f"batch {switched.batch} of {switched.n_batches} of epoch {switched.epoch}"
    assert switched.batch == 0 or batch in switched.sentence()

    # drawn where it was, as soon as the next epoch is under way, and when its figures are there
    dock.tabs.setCurrentWidget(dock.monitor)
    qtbot.waitUntil(lambda: lines(dock.monitor) == [place(switched)], timeout=LONG)
    with qtbot.waitSignal(session.epoch_done, timeout=LONG):
        pass
    press(qtbot, dock, "run_stop")
    qtbot.waitUntil(lambda: session.state is SessionState.STOPPED, timeout=LONG)
    qtbot.waitUntil(lambda: lines(dock.monitor) == [place(switched)], timeout=LONG)
    ends = dock.monitor.loss.curve("epoch").getData()[0]
    assert ends[switched.epoch - 1] == place(switched)

    # in a run that is opened, too
    other = Session()
    monitor = MonitorPanel(other)
    qtbot.addWidget(monitor)
    with qtbot.waitExposed(monitor):
        monitor.show()
    other.open_run(tmp_path / "run")
    qtbot.waitUntil(lambda: lines(monitor) == [place(switched)], timeout=LONG)
    other.close()

    # the command line does the same again
    press(qtbot, dock, "results_copy")
    line = shlex.split(QGuiApplication.clipboard().text())
    result = call(*line[1:])
    assert result.exit_code == 0, result.output
    run, again = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run-again")
    assert [one.command for one in run.commands()] == ["particles", "switch", "stop"]
    assert run.commands()[0].used == "1-3,7-70,72-200"
    assert is_same(again, run)


def second_epoch(batch: object) -> bool:
    return batch.epoch > 0
