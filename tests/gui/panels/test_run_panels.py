"""What the Run box, the Monitor and the Results say of a run, from its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject, Qt

from napari_cryospin.engine.events import (
    BatchDone,
    EpochDone,
    EpochStarted,
    Finished,
    Progress,
    Switched,
)
from napari_cryospin.engine.fsc_events import FscUpdated
from napari_cryospin.engine.half_resolution import HalfResolution
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.engine.runfolder import fsc
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.verdict import Outcome, Verdict
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import Inference
from napari_cryospin.engine.switch_figures import HeadFigures, SwitchFigures, WeightBin
from napari_cryospin.gui.panels.monitor_panel import MonitorPanel
from napari_cryospin.gui.panels.results_panel import ResultsPanel
from napari_cryospin.gui.panels.run_panel import RunPanel
from napari_cryospin.gui.work.states import SessionState
from napari_cryospin.gui.work.worker import ReconstructionWorker

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.work.session import Session

VERDICT = Verdict(Outcome.COMPETING, ("One sentence.", "Another one."), gain=3.0)


def begin(session: Session, epoch: int, stage: int, start: int) -> None:
    event = EpochStarted(epoch, 80, Inference.MARGINAL, stage, start)
    session.epoch_started.emit(event)


def end(
    session: Session, epoch: int, inference: Inference, stage: int, **figures: object
) -> EpochDone:
    done = EpochDone(
        **{
            "epoch": epoch,
            "inference": inference,
            "loss": 1.0,
            "head_share": (0.5, 0.5),
            "stage": stage,
            "start": 0,
            "held_out_gain": None,
            "switch": None,
            "median_pose_error": None,
            "mean_pose_error": None,
            "resolution": None,
            "seconds": 1.0,
            **figures,
        }
    )
    session.history.append(done)
    session.epoch_done.emit(done)
    return done


@pytest.fixture
def box(qtbot: QtBot, session: Session) -> RunPanel:
    box = RunPanel(session)
    qtbot.addWidget(box)
    session.settings = Settings.from_preset("marginal")
    session._set_state(SessionState.RUNNING)
    return box


def test_the_button_says_whether_a_start_or_a_stage_is_next(
    session: Session, box: RunPanel
) -> None:
    session.settings.starts = 3
    begin(session, 0, stage=0, start=0)
    assert (box.switch.text(), box.switch.isEnabled()) == ("Next: start 2 of 3", True)
    assert "random map" in box.switch.toolTip()
    begin(session, 20, stage=0, start=2)
    assert (box.switch.text(), box.switch.isEnabled()) == ("Next: marginalisation", True)
    begin(session, 40, stage=1, start=2)
    assert (box.switch.text(), box.switch.isEnabled()) == ("Switch to auto-decoding", True)
    begin(session, 60, stage=2, start=2)
    assert not box.switch.isEnabled()


def test_pressing_it_is_answered_at_once_and_the_switch_ends_the_waiting(
    qtbot: QtBot, session: Session, box: RunPanel
) -> None:
    session.settings.starts = 1
    begin(session, 0, stage=1, start=0)
    qtbot.mouseClick(box.switch, Qt.MouseButton.LeftButton)
    assert (box.switch.text(), box.switch.isEnabled()) == ("Switching…", False)
    session.progress.emit(Progress("Searching poses", 0, 100))
    assert box.switch.text() == "Switching…"
    session.switched.emit(Switched(1, Inference.DIRECT, 2, 0, "hand"))
    assert box.switch.text() == "Next stage"
    assert "last stage" in box.switch.toolTip()


def test_every_phase_has_its_own_words_and_no_time_of_the_one_before(
    session: Session, box: RunPanel, tmp_path: Path
) -> None:
    def batch(left: float | None) -> None:
        session.batch_done.emit(BatchDone(0, 45, 45, Inference.MARGINAL, 1.0, 500.0, left))

    def said() -> tuple[str, str]:
        return box.batches.text(), box.rate.text()

    begin(session, 0, stage=0, start=0)
    assert said() == ("first batch …", "")
    batch(None)
    assert said() == ("batch 45 of 45", "500 images/s · loss 1")
    batch(70.0)
    assert said() == ("batch 45 of 45", "500 images/s · this stage: ≤ 1 min 10 s · loss 1")
    session.progress.emit(Progress("Measuring the map", 0, 0))
    assert said() == ("Measuring the map …", "")
    session.switched.emit(Switched(1, Inference.DIRECT, 1, 0, "schedule"))
    assert said() == ("stage begins …", "")
    # a batch that the window has not taken up yet is older than what is said next
    session._worker = ReconstructionWorker(None, tmp_path, Controls())
    session._worker.batch.put(BatchDone(0, 45, 45, Inference.MARGINAL, 1.0, 500.0, 70.0))
    session._on_event(Progress("Searching poses", 5, 100))
    session._pull_batches()
    assert said() == ("Searching poses: 5 of 100", "")
    session.progress.emit(Progress("Judging the map", 0, 0))
    assert said() == ("Judging the map …", "")
    session._worker = None


def test_the_verdict_is_said_and_gone_with_the_next_run(
    session: Session, box: RunPanel, tmp_path: Path
) -> None:
    session.finished.emit(Finished(tmp_path, False, True, HalfResolution(12.0), VERDICT))
    assert "Several structures compete" in box.message.text()
    assert "Another one." in box.message.toolTip()
    assert "half-maps with shared poses: 12.0 Å, an upper bound" in box.message.toolTip()
    session._set_state(SessionState.FINISHED)
    session._set_state(SessionState.LOADING)
    assert not box.message.toolTip()
    assert box.epochs.text() == "no epoch yet"


def test_results_show_the_verdict_of_an_ended_run(
    qtbot: QtBot, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = ResultsPanel(session)
    qtbot.addWidget(panel)
    session.folder = tmp_path
    RunFolder(tmp_path).write_verdict(VERDICT)
    end(session, 0, Inference.MARGINAL, 0)
    assert "Verdict: several structures compete" in panel.summary.text()
    assert "One sentence." in panel.summary.text()
    # a run that goes on has none yet
    monkeypatch.setattr(type(session), "active", property(lambda _: True))
    end(session, 1, Inference.MARGINAL, 0)
    assert "Verdict" not in panel.summary.text()


def test_the_monitor_draws_what_each_stage_measures(qtbot: QtBot, session: Session) -> None:
    monitor = MonitorPanel(session)
    qtbot.addWidget(monitor)
    with qtbot.waitExposed(monitor):
        monitor.show()
    heads = HeadFigures(0.9, 0.06, 0.02, (WeightBin(0.9, 0.92, 7),))
    figures = SwitchFigures(2.0, 2.1, winner_in_best_mode=0.25, amortization_gap=0.1, heads=heads)
    end(session, 0, Inference.AMORTIZED, 0, held_out_gain=2.0, switch=figures)
    qtbot.waitUntil(lambda: monitor.switch.isVisible() and monitor.heads.isVisible())
    shown = {name: monitor.switch.curve(name).getData()[1][0] for name in ("in best mode",)}
    assert shown == {"in best mode": pytest.approx(25)}
    assert monitor.gain.curve("needed").getData()[1][0] == pytest.approx(2.1)
    end(session, 1, Inference.MARGINAL, 1, held_out_gain=2.5)
    qtbot.waitUntil(lambda: "epoch 1, their last" in monitor.heads._title)
    # what auto-encoding has measured stays beside what comes after it
    assert monitor.switch.isVisible() and monitor.heads.isVisible()
    assert list(monitor.posterior.curve("covered").getData()[1]) == [90]
    assert list(monitor.posterior.curve("weights off").getData()[1]) == [2]
    assert list(monitor.gain.curve("gain").getData()[1]) == [2.0, 2.5]
    assert "marginalisation" in monitor.note.text()


def test_the_monitor_draws_how_far_independent_halves_agree(qtbot: QtBot, session: Session) -> None:
    monitor = MonitorPanel(session)
    qtbot.addWidget(monitor)
    with qtbot.waitExposed(monitor):
        monitor.show()
    end(session, 0, Inference.MARGINAL, 0)
    qtbot.waitUntil(lambda: not monitor._pieces.isActive())
    assert not monitor.fsc.isVisible() and not monitor.halves.isVisible()
    shells = np.arange(17)
    told = FscUpdated(
        1,
        HalfResolution(12.0, shared=20.0),
        {
            fsc.FREQUENCY: shells / 160,
            fsc.CORRECTED: np.linspace(1, 0, 17),
            fsc.SHARED: (shells <= 8) * 1.0,
        },
    )
    session._on_event(told)
    end(session, 1, Inference.DIRECT, 1, resolution_halves=told.reached)
    qtbot.waitUntil(lambda: monitor.fsc.isVisible() and monitor.halves.isVisible())
    assert list(monitor.halves.curve("halves").getData()[1]) == [12.0]
    assert len(monitor.fsc.curve(fsc.CORRECTED).getData()[1]) == 17
    # a line up to where the halves share a map
    assert monitor.fsc.limit.isVisible()
    assert monitor.fsc.limit.value() == pytest.approx(1 / 20)
    assert "corrected" in monitor.fsc._title and "truth" not in monitor.fsc._title
    # the marks are resolutions
    axis = monitor.fsc.getAxis("bottom")
    ((_, places),) = axis.tickValues(0, 0.1, 200)
    assert axis.tickStrings(places, 1, 1)[-1] == "10"


def test_the_monitor_draws_what_another_process_wrote_of_its_halves(
    qtbot: QtBot, session: Session, tmp_path: Path
) -> None:
    monitor = MonitorPanel(session)
    qtbot.addWidget(monitor)
    with qtbot.waitExposed(monitor):
        monitor.show()
    run, curve = RunFolder(tmp_path), np.linspace(1, 0, 17)
    session.folder = tmp_path
    # half-maps that share their poses say nothing of how it goes
    run.write_fsc({fsc.HALVES: curve}, 4.0)
    end(session, 0, Inference.DIRECT, 0)
    qtbot.waitUntil(lambda: not monitor._pieces.isActive())
    assert not monitor.fsc.isVisible()
    run.write_fsc({fsc.CORRECTED: curve, fsc.SHARED: (np.arange(17) <= 8) * 1.0}, 4.0)
    end(session, 1, Inference.DIRECT, 1)
    qtbot.waitUntil(monitor.fsc.isVisible)
    assert len(monitor.fsc.curve(fsc.CORRECTED).getData()[1]) == 17


def test_a_batch_draws_the_loss_alone(qtbot: QtBot, session: Session) -> None:
    """What is linked with it keeps its range, so that nothing else is painted."""
    monitor = MonitorPanel(session)
    qtbot.addWidget(monitor)
    with qtbot.waitExposed(monitor):
        monitor.show()
    end(session, 0, Inference.AMORTIZED, 0, median_pose_error=30.0)
    begin(session, 1, 0, 0)
    qtbot.waitUntil(monitor.pose_error.isVisible)
    batches = [
        BatchDone(1, batch, 9, Inference.AMORTIZED, 5.0 - batch, 1000.0, None)
        for batch in range(1, 10)
    ]
    session.batch_done.emit(batches[0])
    # what the epoch has changed is drawn in pieces
    qtbot.waitUntil(lambda: not monitor._pieces.isActive())
    qtbot.wait(200)
    ranges = monitor.pose_error.viewRange()
    painted = list[object]()

    class Watch(QObject):
        def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
            if event is not None and event.type() == QEvent.Type.Paint:
                painted.append(watched)
            return False

    watch = Watch()
    for plot in (*monitor._over_epochs, monitor.heads):
        plot.viewport().installEventFilter(watch)
    for batch in batches[1:]:
        session.batch_done.emit(batch)
        qtbot.wait(20)
    assert monitor.pose_error.viewRange() == ranges
    assert set(painted) == {monitor.loss.viewport()}


def test_the_monitor_draws_a_switch_where_it_was_made(qtbot: QtBot, session: Session) -> None:
    monitor = MonitorPanel(session)
    qtbot.addWidget(monitor)
    with qtbot.waitExposed(monitor):
        monitor.show()

    def lines() -> list[tuple[float, str]]:
        drawn = monitor.loss._lines
        return [(line.value(), line.label.format) for line in drawn if line.isVisible()]

    end(session, 0, Inference.AMORTIZED, 0, batches=45, n_batches=45)
    end(session, 1, Inference.AMORTIZED, 0, batches=9, n_batches=45)
    begin(session, 2, 1, 0)
    # while the epoch is still under way
    qtbot.waitUntil(lambda: lines() == [(1.2, "stage 2")])
    end(session, 2, Inference.MARGINAL, 1, batches=8, n_batches=8)
    # figures of an earlier version do not tell
    end(session, 3, Inference.DIRECT, 2)
    qtbot.waitUntil(lambda: lines() == [(1.2, "stage 2"), (3.0, "stage 3")])
    assert list(monitor.loss.curve("epoch").getData()[0]) == [1.0, 1.2, 3.0, 4.0]
