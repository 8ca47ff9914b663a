"""The form of a run's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.panels.training_panel import TrainingPanel
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QWidget

    from napari_cryospin.gui.work.session import Session


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> TrainingPanel:
    panel = TrainingPanel(session)
    qtbot.addWidget(panel)
    with qtbot.waitExposed(panel):
        panel.show()
    return panel


def test_settings_from_a_file_are_shown_as_they_are(panel: TrainingPanel) -> None:
    settings = Settings.from_preset("cryospin")
    settings.device, settings.data.box = "cuda:1", 48
    settings.set("data.stack", Path("particles.star"))
    settings.threads = 2000
    panel.show_settings(settings)
    assert panel.settings(Path("particles.star"), None) == settings


def test_only_an_encoder_has_heads(panel: TrainingPanel) -> None:
    (heads,) = (each for field, each in panel._widgets.items() if field.where == "model.heads")
    assert not heads.enabled
    panel.stages.insert(Inference.AMORTIZED)
    assert heads.enabled
    panel.preset.value = "paper-synthetic"
    assert heads.enabled
    panel.preset.value = "default"
    assert not heads.enabled


@pytest.mark.parametrize("state", [SessionState.LOADING, SessionState.RUNNING, SessionState.PAUSED])
def test_the_form_of_a_run_under_way_is_its_own_and_locked(
    panel: TrainingPanel, session: Session, tmp_path: Path, state: SessionState
) -> None:
    assert not panel.locked.isVisible()
    panel.preset.value = "quick"
    session.settings, session.folder = Settings.from_preset("cryospin"), tmp_path / "run"
    session.settings.seed = 17
    (seed,) = (each for field, each in panel._widgets.items() if field.where == "seed")
    session._set_state(SessionState.LOADING)
    session._set_state(state)
    assert panel.locked.isVisible()
    assert "under way" in panel.locked.text()
    locked = (seed.native, panel.preset.native, panel.stages.list, panel.run_folder.native)
    assert not any(widget.isEnabled() for widget in locked)
    assert (seed.value, panel.preset.value) == (17, "cryospin")
    assert panel.folder == tmp_path / "run"
    session._set_state(SessionState.STOPPED)
    assert not panel.locked.isVisible()
    assert all(widget.isEnabled() for widget in locked)


def wheel(widget: QWidget) -> None:
    place, turn = QPointF(5, 5), QPoint(0, -120)
    event = QWheelEvent(
        place,
        QPointF(widget.mapToGlobal(place.toPoint())),
        QPoint(),
        turn,
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)


def test_scrolling_past_a_field_leaves_it_alone(
    panel: TrainingPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = panel.preset.native
    wheel(preset)
    assert panel.preset.value == "default"
    # as after a click; without a window manager no window is active
    monkeypatch.setattr(preset, "hasFocus", lambda: True)
    wheel(preset)
    assert panel.preset.value != "default"
