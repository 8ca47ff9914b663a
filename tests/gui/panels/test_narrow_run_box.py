"""The Run box in a dock of 340 px: nothing is clipped, and nothing is wider."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QEvent, QObject

from napari_cryospin.engine.events import BatchDone, EpochStarted, Progress, RunStarted
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.dock import CryoSpinDock
    from napari_cryospin.gui.panels.run_panel import RunPanel

WIDTH = 340


@pytest.fixture
def box(qtbot: QtBot, dock: CryoSpinDock, tmp_path: Path) -> RunPanel:
    """The Run box in napari's style, by itself, in the midst of a run."""
    box, session = dock.run, dock.session
    dock.layout().removeWidget(box)
    box.setParent(dock.window())
    box.setFixedWidth(WIDTH)
    box.move(0, 0)
    box.show()
    session.settings = Settings.from_preset("marginal")
    session.settings.starts = 20
    session._set_state(SessionState.RUNNING)
    device = "NVIDIA H100 80GB HBM3 with a long name"
    session.run_started.emit(
        RunStarted(
            folder=tmp_path,
            n_particles=1_234_567,
            box=128,
            pixel_size=3.14159,
            n_heads=7,
            device=device,
            seed=2**31 - 1,
            inference=Inference.AMORTIZED,
            first_epoch=0,
            n_epochs=1000,
            truth_known=False,
            notes=(),
        )
    )
    return box


def test_a_new_rate_lays_nothing_out_anew(qtbot: QtBot, dock: CryoSpinDock) -> None:
    """Or the window lays all its docks out several times a second."""
    asked = list[str]()

    class Watch(QObject):
        def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
            if event is not None and event.type() == QEvent.Type.LayoutRequest:
                asked.append(type(watched).__name__)
            return False

    qtbot.wait(200)
    watch = Watch()
    dock.window().installEventFilter(watch)
    dock.installEventFilter(watch)
    for batch in range(1, 6):
        event = BatchDone(0, batch, 45, Inference.AMORTIZED, 1.5, 10_000.0 / batch, 7.0 * batch)
        dock.session.batch_done.emit(event)
        qtbot.wait(30)
    assert "batch 5 of 45" in dock.run.batches.text()
    assert asked == []


@pytest.mark.parametrize(("stage", "start"), [(0, 0), (0, 19), (1, 0), (2, 0)])
def test_no_button_is_clipped(qtbot: QtBot, box: RunPanel, stage: int, start: int) -> None:
    session = box._session
    session.epoch_started.emit(EpochStarted(998, 1000, Inference.MARGINAL, stage, start))
    for press in (None, box.pause, box.switch if box.switch.isEnabled() else None):
        if press is not None:
            press.click()
        qtbot.wait(50)
        assert box.minimumSizeHint().width() <= WIDTH
        for button in (box.start, box.pause, box.switch, box.stop, box.discard):
            assert button.width() >= button.minimumSizeHint().width(), button.text()
            assert box.rect().contains(button.geometry()), button.text()


def test_a_message_has_the_room_of_what_is_not_said(qtbot: QtBot, box: RunPanel) -> None:
    sentence = "Showing the run in Hsp90_3000_0.1_seed0_32. Finished: 41 of 80 epochs were needed."
    height = box.height()
    box._session.message.emit(sentence)
    qtbot.wait(50)
    assert box.message.heightForWidth(box.message.width()) > box.message.height()
    box._clear()
    box._session.message.emit(sentence)
    qtbot.wait(50)
    assert box.message.heightForWidth(box.message.width()) <= box.message.height()
    assert box.height() == height


def test_words_and_bars_fit(qtbot: QtBot, box: RunPanel) -> None:
    session = box._session
    session.epoch_started.emit(EpochStarted(998, 1000, Inference.AMORTIZED, 0, 0))
    session.progress.emit(Progress("Beginning the next stage", 0, 0))
    for event in (
        Progress("Searching poses", 1_234_567, 1_234_568),
        Progress("Reading particles", 1_234_567, 1_234_568),
    ):
        session.progress.emit(event)
        text = box.batches.fontMetrics().horizontalAdvance(box.batches.text())
        assert text < box.batches.width()
    batch = BatchDone(998, 12_345, 12_346, Inference.AMORTIZED, 0.12345678, 123_456.0, 86_399.0)
    session.batch_done.emit(batch)
    qtbot.wait(50)
    assert "this stage: ≤ 23 h 59 min" in box.rate.text()
    assert box.rate.width() <= WIDTH
    assert box.rate.toolTip() == box.rate.text()
    assert box.minimumSizeHint().width() <= WIDTH
    assert box.state.text() == "Running · auto-encoding"
