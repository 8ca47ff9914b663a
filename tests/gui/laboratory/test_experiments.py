"""Experiments in a real window: designed, queued, watched, cancelled, gone on with, opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QLabel, QMessageBox, QPushButton

from napari_cryospin.engine.experiments.plan import PLAN, Experiment
from napari_cryospin.engine.experiments.results import TABLE, CellState, read_results
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.gui.laboratory.experiments_panel import ExperimentsPanel
from napari_cryospin.gui.work.experiment_queue import BUSY, ExperimentQueue
from napari_cryospin.gui.work.session import Session
from napari_cryospin.gui.work.states import SessionState
from small_experiments import SMALL, small_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000


def press(qtbot: QtBot, panel: ExperimentsPanel, name: str) -> None:
    button = panel.findChild(QPushButton, f"experiment_{name}")
    qtbot.waitUntil(button.isEnabled, timeout=LONG)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> Iterator[ExperimentsPanel]:
    """The tab alone, with its queue."""
    panel = ExperimentsPanel(session, ExperimentQueue(session, 1))
    qtbot.addWidget(panel)
    panel.show()
    return panel


def design(panel: ExperimentsPanel, plan: Experiment, folder: Path) -> None:
    panel.designer.show_experiment(plan)
    panel.folder.setText(str(folder))


def states(panel: ExperimentsPanel, place: int = 0) -> list[CellState]:
    item = panel._queue.items[place]
    return [item.state(cell) for cell in item.cells]


def ended(panel: ExperimentsPanel, place: int = 0) -> bool:
    return panel._queue.items[place].ended and not panel._queue.active


def said(panel: ExperimentsPanel) -> str:
    return panel.findChild(QLabel, "experiment_said").text()


def test_an_experiment_from_design_to_an_open_cell(
    qtbot: QtBot, dock: CryoSpinDock, tiny_stack: Path, tmp_path: Path
) -> None:
    panel, out = dock.experiments, tmp_path / "out"
    with qtbot.waitSignal(dock.session.table_changed, timeout=LONG):
        dock.open_path(tiny_stack / "particles.star")
    dock.tabs.setCurrentWidget(panel)
    # the stack of the Data tab is named already, with the truth that was simulated with it
    designer = panel.designer
    assert designer.stacks.toPlainText() == str(tiny_stack / "particles.star")
    for line, text in ((designer.presets, "paper-synthetic"), (designer.switches, "1, 2")):
        line.clear()
        qtbot.keyClicks(line, text)
    designer.further.setPlainText("\n".join(f"{name} = {v}" for name, v in SMALL.items()))
    qtbot.waitUntil(lambda: said(panel).startswith("<b>2 cells, at most 4 epochs"), timeout=LONG)
    panel.folder.setText(str(out))
    press(qtbot, panel, "add")
    assert states(panel) == [CellState.WAITING] * 2
    press(qtbot, panel, "start")
    assert dock.queue.active and not panel.start.isEnabled()
    # nothing else may be begun meanwhile, and the Run box says why
    run = dock.run
    assert not run.start.isEnabled() and run.start.toolTip() == BUSY
    assert run.state.text() == "Experiment under way"
    qtbot.waitUntil(lambda: ended(panel), timeout=LONG)
    qtbot.waitUntil(run.start.isEnabled, timeout=LONG)
    assert run.state.text() == "Ready" and run.start.toolTip() != BUSY

    assert states(panel) == [CellState.FINISHED] * 2
    rows = read_results(out / TABLE)
    assert list(rows) == ["seed-0_switch-2", "seed-0_switch-1"]
    assert rows["seed-0_switch-1"]["branch_of"] == "seed-0_switch-2"
    # the cell shows what its row has
    child = panel.view.topLevelItem(0).child(1)
    error = float(rows["seed-0_switch-1"]["mean_pose_error_deg"])
    assert child.text(1) == f"✓ {error:.1f}°"
    panel.view.setCurrentItem(child)
    with qtbot.waitSignal(dock.session.run_opened, timeout=LONG):
        press(qtbot, panel, "open")
    assert dock.session.folder == out / "seed-0_switch-1"
    assert len(dock.session.history) == 2
    # and the comparison opens with the runs of the experiment
    press(qtbot, panel, "compare")
    qtbot.waitUntil(lambda: len(dock.compare.tree.compared()) == 2, timeout=LONG)
    assert dock.compare.isVisible()


def test_cancel_keeps_all_and_start_goes_on(
    qtbot: QtBot, panel: ExperimentsPanel, tiny_stack: Path, tmp_path: Path
) -> None:
    plan = small_plan(tiny_stack, {"held_out": 0.0}, switch_at=[30, 1])
    design(panel, plan, tmp_path / "out")
    press(qtbot, panel, "add")
    press(qtbot, panel, "start")
    run = RunFolder(tmp_path / "out" / "seed-0_switch-30")
    qtbot.waitUntil(lambda: len(run.history()) > 1, timeout=LONG)
    press(qtbot, panel, "pause")
    qtbot.waitUntil(lambda: panel.pause.text() == "Resume", timeout=LONG)
    press(qtbot, panel, "pause")
    press(qtbot, panel, "cancel")
    qtbot.waitUntil(lambda: not panel._queue.active, timeout=LONG)
    assert states(panel) == [CellState.STOPPED, CellState.WAITING]
    before = len(run.history())
    assert 1 < before < 30 and run.checkpoints()
    assert "can be resumed" in panel._queue.items[0].message
    press(qtbot, panel, "start")
    qtbot.waitUntil(lambda: ended(panel), timeout=LONG)
    assert states(panel) == [CellState.FINISHED] * 2
    assert len(run.history()) == 31


def test_an_experiment_of_another_day_is_taken_up(
    qtbot: QtBot, panel: ExperimentsPanel, copied_experiment: Path
) -> None:
    panel.take_up(copied_experiment)
    assert panel.designer.experiment() == Experiment.from_toml(copied_experiment / PLAN)
    press(qtbot, panel, "add")
    press(qtbot, panel, "start")
    qtbot.waitUntil(lambda: ended(panel), timeout=LONG)
    assert states(panel) == [CellState.FINISHED] * 6


def test_the_queue_waits_for_a_run_and_says_so(
    qtbot: QtBot,
    panel: ExperimentsPanel,
    session: Session,
    settings: Settings,
    tiny_stack: Path,
    tmp_path: Path,
) -> None:
    with qtbot.waitSignal(session.epoch_done, timeout=LONG):
        session.start(settings, tmp_path / "run")
    design(panel, small_plan(tiny_stack, switch_at=[1]), tmp_path / "out")
    press(qtbot, panel, "add")
    press(qtbot, panel, "start")
    assert not panel._queue.active
    waits = panel.findChild(QLabel, "experiment_waits")
    assert waits.isVisible() and "waits for the run" in waits.text()
    session.stop(keep=False)
    qtbot.waitUntil(lambda: panel._queue.active, timeout=LONG)
    assert not waits.isVisible()
    # and while it trains no run is begun beside it
    with qtbot.waitSignal(session.message, check_params_cb=lambda told: told == BUSY):
        session.start(settings, tmp_path / "another")
    assert session.state is not SessionState.LOADING
    qtbot.waitUntil(lambda: ended(panel), timeout=LONG)
    with qtbot.waitSignal(session.run_started, timeout=LONG):
        session.start(settings, tmp_path / "another")


def test_a_plan_is_saved_and_loaded(
    panel: ExperimentsPanel, tiny_stack: Path, tmp_path: Path
) -> None:
    plan = small_plan(tiny_stack, {"model.heads": [2, 3]}, seed=[4, 5], switch_at=[1, "auto"])
    panel.designer.show_experiment(plan)
    panel.designer.write(tmp_path / "plan.toml")
    assert Experiment.from_toml(tmp_path / "plan.toml") == plan
    panel.designer.show_experiment(small_plan(tiny_stack))
    panel.designer.open(tmp_path / "plan.toml")
    assert panel.designer.experiment() == plan


def test_what_is_wrong_is_said_and_nothing_is_queued(
    qtbot: QtBot,
    panel: ExperimentsPanel,
    session: Session,
    tiny_stack: Path,
    finished_experiment: Path,
    tmp_path: Path,
) -> None:
    assert "Name a particle stack" in said(panel)
    design(panel, small_plan(tiny_stack), finished_experiment)
    messages: list[str] = []
    session.message.connect(messages.append)
    press(qtbot, panel, "add")
    assert "holds another experiment" in messages[-1]
    panel.folder.setText(str(tmp_path / "out"))
    panel.designer.further.setPlainText("model.heads")
    panel.designer.count()
    assert said(panel) == "'model.heads' is no setting: write a name, =, and its values."
    press(qtbot, panel, "add")
    assert messages[-1] == said(panel)
    panel.designer.further.setPlainText("")
    panel.designer.presets.setText("paper-synthetic, nothing")
    panel.designer.count()
    assert "there is no preset 'nothing'" in said(panel)
    assert panel._queue.items == []


def test_the_same_folder_is_queued_once(
    qtbot: QtBot, panel: ExperimentsPanel, session: Session, tiny_stack: Path, tmp_path: Path
) -> None:
    messages: list[str] = []
    session.message.connect(messages.append)
    for _ in range(2):
        design(panel, small_plan(tiny_stack), tmp_path / "out")
        press(qtbot, panel, "add")
    assert len(panel._queue.items) == 1 and "in the queue already" in messages[-1]
    panel.view.setCurrentItem(panel.view.topLevelItem(0))
    press(qtbot, panel, "remove")
    assert panel._queue.items == [] and not panel.start.isEnabled()


def test_a_setting_is_added_by_its_name(
    qtbot: QtBot, panel: ExperimentsPanel, tiny_stack: Path
) -> None:
    panel.designer.show_experiment(small_plan(tiny_stack))
    panel.designer.further.setPlainText("")
    qtbot.keyClicks(panel.designer.setting, "model.heads")
    qtbot.keyClick(panel.designer.setting, Qt.Key.Key_Return)
    (line,) = panel.designer.further.toPlainText().splitlines()
    name, _, value = line.partition(" = ")
    assert name == "model.heads" and int(value) > 0


def test_a_closed_dock_leaves_what_can_be_gone_on_with(
    qtbot: QtBot, dock: CryoSpinDock, tiny_stack: Path, tmp_path: Path
) -> None:
    panel, out = dock.experiments, tmp_path / "out"
    dock.viewer.window._qt_window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    design(panel, small_plan(tiny_stack, {"held_out": 0.0}, switch_at=[4000]), out)
    dock.tabs.setCurrentWidget(panel)
    press(qtbot, panel, "add")
    press(qtbot, panel, "start")
    run = RunFolder(out / "seed-0_switch-4000")
    qtbot.waitUntil(lambda: len(run.history()) > 1, timeout=LONG)
    asked: list[str] = []

    def answer() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(20, answer)
            return
        asked.append(box.text())
        box.button(QMessageBox.StandardButton.Close).click()

    QTimer.singleShot(20, answer)
    window = dock.viewer.window._qt_window
    window.close()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=LONG)
    assert "All is kept" in asked[0]
    assert not dock.queue.active
    epochs = len(run.history())
    assert run.checkpoints() and epochs < 4000

    # another window, on another day
    session = Session()
    again = ExperimentsPanel(session, ExperimentQueue(session, 1))
    qtbot.addWidget(again)
    again.take_up(out)
    press(qtbot, again, "add")
    press(qtbot, again, "start")
    qtbot.waitUntil(lambda: len(run.history()) > epochs, timeout=LONG)
    press(qtbot, again, "cancel")
    qtbot.waitUntil(lambda: not again._queue.active, timeout=LONG)
    assert states(again) == [CellState.STOPPED]
