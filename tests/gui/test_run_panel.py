from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qtpy.QtWidgets import QPushButton

from napari_cryospin.engine.run import events
from napari_cryospin.engine.settings import Stage
from napari_cryospin.gui.run_panel import RunPanel, duration
from napari_cryospin.gui.session import SessionState

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.session import Session

FOLDER = Path("/a/rather-long-directory-name/and-another-one-below-it/of-a-project/run")


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> RunPanel:
    made = RunPanel(session)
    qtbot.addWidget(made)
    made.resize(380, made.sizeHint().height())
    made.show()
    return made


def begin(session: Session, stage: Stage = Stage.AUTO_ENCODING) -> None:
    session._set_state(SessionState.LOADING)
    session._set_state(SessionState.RUNNING)
    session.run_started.emit(
        events.RunStarted(FOLDER, 200, 32, 4.0, 3, "CPU, 1 thread", 7, stage, 0, 9, False, ())
    )


def enabled(panel: RunPanel) -> set[str]:
    buttons = panel.findChildren(QPushButton)
    return {button.objectName().removeprefix("run_") for button in buttons if button.isEnabled()}


@pytest.mark.parametrize(
    ("state", "buttons"),
    [
        (SessionState.IDLE, {"start"}),
        (SessionState.LOADING, {"stop", "discard"}),
        (SessionState.RUNNING, {"pause", "switch", "stop", "discard"}),
        (SessionState.PAUSED, {"pause", "switch", "stop", "discard"}),
        (SessionState.STOPPING, set()),
        (SessionState.FINISHED, {"start"}),
        (SessionState.FAILED, {"start"}),
    ],
)
def test_only_buttons_that_work_can_be_pressed(
    panel: RunPanel, session: Session, state: SessionState, buttons: set[str]
) -> None:
    if state in (SessionState.RUNNING, SessionState.PAUSED, SessionState.STOPPING):
        begin(session)
    session._set_state(state)
    assert enabled(panel) == buttons
    assert state.value in panel.state.text()


def test_there_is_no_switch_after_the_switch(panel: RunPanel, session: Session) -> None:
    begin(session)
    session.switched.emit(events.Switched(3, "hand"))
    assert "auto-decoding" in panel.state.text()
    assert "switch" not in enabled(panel)
    assert "by hand" in panel.message.text()


def test_progress_rate_and_device_are_shown(panel: RunPanel, session: Session) -> None:
    begin(session)
    session.epoch_started.emit(events.EpochStarted(1, 9, Stage.AUTO_ENCODING))
    session.batch_done.emit(events.BatchDone(1, 2, 4, Stage.AUTO_ENCODING, 1.5, 1234.0, 80.0))
    assert panel.epochs.text() == "epoch 2 of 9"
    assert panel.batches.text() == "batch 2 of 4"
    assert panel.rate.text() == "1,234 images/s · 1 min 20 s left"
    assert "seed 7" in panel.device.text()
    session._set_state(SessionState.FINISHED)
    assert panel.rate.text() == ""


def test_pausing_is_seen_at_once(panel: RunPanel, session: Session) -> None:
    begin(session)
    panel.pause.click()
    assert panel.pause.text() == "Pausing…"
    session._set_state(SessionState.PAUSED)
    assert panel.pause.text() == "Resume"


def test_a_long_sentence_is_whole(panel: RunPanel, session: Session) -> None:
    width = panel.minimumSizeHint().width()
    session.finished.emit(events.Finished(FOLDER, False, True, 8.4))
    label = panel.message
    assert panel.minimumSizeHint().width() == width
    assert label.heightForWidth(label.width()) <= label.height()
    # what is even longer can be read in the tooltip
    assert label.toolTip() == f"Map and poses are in {FOLDER}, 8.4 Å between half-maps."


def test_a_sentence_is_no_markup(panel: RunPanel, session: Session) -> None:
    session.message.emit("Column <b> is missing.")
    assert "<b>" in panel.message.text()
    assert panel.message.textFormat() == panel.message.textFormat().PlainText


@pytest.mark.parametrize(
    ("seconds", "words"), [(9.6, "10 s"), (200, "3 min 20 s"), (7260, "2 h 1 min")]
)
def test_time_spans_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
