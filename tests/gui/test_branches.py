"""Branches and the schedule in a real window: of a live run, from an earlier epoch; both go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QInputDialog, QPushButton

from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.runfolder.branch_points import points_of
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.parent import read_parent
from napari_cryospin.gui.work.session import Session
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.events import EpochDone
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock
    from napari_cryospin.gui.views.branch_dialog import BranchDialog

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000


@pytest.fixture
def live(
    qtbot: QtBot,
    shared_dock: CryoSpinDock,
    settings: Settings,
    tmp_path: Path,
    rests_between_epochs: None,
) -> Iterator[CryoSpinDock]:
    """The dock with a run of auto-encoding under way, two epochs of which are done."""
    dock, settings.held_out = shared_dock, 0.0
    dock.posterior.explorer.options = PosteriorOptions(nside=4)
    dock.session.start(settings, tmp_path / "run")
    qtbot.waitUntil(lambda: len(dock.session.history) >= 2, timeout=LONG)
    dock.open_posterior.setChecked(True)
    qtbot.waitUntil(lambda: dock.posterior.branch.isEnabled(), timeout=LONG)
    yield dock
    dock.session.stop(keep=False)
    qtbot.waitUntil(lambda: not dock.session.active, timeout=LONG)


def asked(qtbot: QtBot, dock: CryoSpinDock, epoch: int) -> BranchDialog:
    """Return the dialog that the button opens while an epoch, from 1, is shown."""
    posterior, run = dock.posterior, dock.session.folder
    qtbot.waitUntil(lambda: epoch in points_of(run), timeout=LONG)
    posterior.slider.setValue(posterior.explorer.recorded.index(epoch - 1))
    qtbot.waitUntil(posterior.branch.isVisible, timeout=LONG)
    qtbot.mouseClick(posterior.branch, Qt.MouseButton.LeftButton)
    dialog = posterior.branch.dialog
    assert dialog is not None
    qtbot.waitUntil(dialog.isVisible, timeout=LONG)
    return dialog


def choose(dialog: BranchDialog, data: str) -> None:
    dialog.switch.setCurrentIndex(dialog.switch.findData(data))


def rows(folder: Path) -> list[tuple[str, str]]:
    return [(row["inference"], row["loss"]) for row in RunFolder(folder).metrics()]


def test_a_live_run_is_branched_and_both_go_on(
    qtbot: QtBot, live: CryoSpinDock, tmp_path: Path
) -> None:
    session, said = live.session, list[str]()
    session.message.connect(said.append)
    dialog = asked(qtbot, live, 1)
    assert "from epoch 1" in dialog.windowTitle()
    assert "auto-encoding" in dialog.findChildren(type(live.run.message))[0].text()
    assert dialog.starts.text() == "Run it when the run under way has ended"
    choose(dialog, "now")
    out = tmp_path / "run-from-1"
    assert dialog.folder.text() == str(out)
    qtbot.mouseClick(dialog.make, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: live.posterior.branch.brancher.waiting == (out,), timeout=LONG)
    assert said[-1] == f"The branch is in {out}: it begins when the run under way has ended."
    assert rows(out) == rows(tmp_path / "run")[:1]

    # the parent is not disturbed
    epochs = len(session.history)
    assert session.folder == tmp_path / "run"
    qtbot.waitUntil(lambda: len(session.history) > epochs + 1, timeout=LONG)
    assert {done.inference for done in session.history} == {"amortized"}

    # the branch begins by itself, and decodes after the epoch that both have in common
    session.stop()
    qtbot.waitUntil(lambda: session.folder == out, timeout=LONG)
    qtbot.waitUntil(lambda: len(rows(out)) >= 3, timeout=LONG)
    assert [inference for inference, _ in rows(out)[:3]] == ["amortized", "direct", "direct"]
    assert rows(out)[0] == rows(tmp_path / "run")[0]
    assert session.state is SessionState.RUNNING
    # the epochs before it are drawn, too
    live.tabs.setCurrentWidget(live.monitor)
    ends = live.monitor.loss.curve("epoch")
    qtbot.waitUntil(lambda: list(ends.getData()[0][:2]) == [1.0, 2.0], timeout=LONG)
    assert live.posterior.branch.brancher.waiting == ()
    session.stop()
    qtbot.waitUntil(lambda: session.state is SessionState.STOPPED, timeout=LONG)

    # opened again, in a session that has not seen it
    other = Session()
    with qtbot.waitSignal(other.run_opened, timeout=LONG):
        other.open_run(out)
    qtbot.waitUntil(lambda: len(other.history) == len(rows(out)), timeout=LONG)
    assert other.state is SessionState.STOPPED and other.standing.resumable
    assert read_parent(RunFolder(out)).switch_at == "now"
    other.close()


def test_heads_rates_and_seed_are_changed_and_it_is_only_made(
    qtbot: QtBot, live: CryoSpinDock, tmp_path: Path
) -> None:
    dialog = asked(qtbot, live, 2)
    choose(dialog, "K")
    dialog.epoch.setValue(4)
    dialog.rates["stages.0.learning_rate_encoder"].setText("0.005")
    dialog.heads.setValue(5)
    dialog.seed.setValue(9)
    dialog.starts.setChecked(False)
    dialog.folder.setText(str(tmp_path / "branch"))
    with qtbot.waitSignal(live.session.message, timeout=LONG, check_params_cb=is_made):
        qtbot.mouseClick(dialog.make, Qt.MouseButton.LeftButton)
    settings = RunFolder(tmp_path / "branch").settings()
    assert (settings.model.heads, settings.seed) == (5, 9)
    assert settings.stages[0].learning_rate_encoder == 0.005
    assert (settings.stages[0].until, settings.stages[0].epochs) == ("epochs", 4)
    assert live.posterior.branch.brancher.waiting == ()
    # a name that is taken is refused, and told
    dialog = asked(qtbot, live, 2)
    dialog.folder.setText(str(tmp_path / "branch"))
    with qtbot.waitSignal(live.session.message, timeout=LONG, check_params_cb=is_refused):
        qtbot.mouseClick(dialog.make, Qt.MouseButton.LeftButton)


def is_made(sentence: str) -> bool:
    return sentence.startswith("The branch is in") and "open it to run it" in sentence


def is_refused(sentence: str) -> bool:
    return sentence.endswith("is not empty: choose another folder.")


def test_an_epoch_that_cannot_be_branched_from_is_told(qtbot: QtBot, live: CryoSpinDock) -> None:
    session, posterior = live.session, live.posterior
    session.pause()
    qtbot.waitUntil(lambda: session.state is SessionState.PAUSED, timeout=LONG)
    folder = RunFolder(session.folder)
    qtbot.waitUntil(lambda: 2 in points_of(folder.path), timeout=LONG)
    for path in (folder.branch_point_path(1), folder.checkpoint_path(1)):
        path.unlink(missing_ok=True)
    posterior.slider.setValue(0)
    assert "cannot be branched from after epoch 1: it can be after epoch" in (
        posterior.branch.toolTip()
    )
    with qtbot.waitSignal(session.message, timeout=LONG) as caught:
        qtbot.mouseClick(posterior.branch, Qt.MouseButton.LeftButton)
    assert caught.args == [posterior.branch.toolTip()]
    assert posterior.branch.dialog is None
    session.resume()


def test_the_schedule_is_changed_beside_the_switch(
    qtbot: QtBot, live: CryoSpinDock, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, box = live.session, live.run
    assert box.switch.text() == "Switch to auto-decoding"
    button = live.findChild(QPushButton, "run_schedule")
    assert (button.text(), button.isEnabled()) == ("Switch at: never", True)
    with qtbot.waitSignal(session.rescheduled, timeout=LONG):
        button.auto.trigger()
    assert button.text() == "Switch at: auto"
    assert "ends by its criterion from now on" in box.message.text()
    session.pause()
    qtbot.waitUntil(lambda: session.state is SessionState.PAUSED, timeout=LONG)
    # the epoch that is under way is the last one
    present = len(session.history) + 1
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (present, True))
    session.resume()
    with qtbot.waitSignal(session.switched, timeout=LONG) as caught:
        button.after.trigger()
    (switched,) = caught.args
    assert (switched.by, switched.inference) == ("schedule", "direct")
    assert present <= switched.epoch <= present + 1
    with qtbot.waitSignal(session.epoch_done, timeout=LONG, check_params_cb=decodes):
        pass
    # the last stage has no end to move
    assert (button.isEnabled(), button.text()) == (False, "Switch at")
    commands = [(one.command, one.switch_at) for one in RunFolder(session.folder).commands()]
    assert commands == [("schedule", "auto"), ("schedule", present)]


def decodes(done: EpochDone) -> bool:
    return done.inference == "direct"
