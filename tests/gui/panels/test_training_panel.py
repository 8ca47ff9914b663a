"""The form of a run's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import DirectStage, Inference
from napari_cryospin.gui.panels.stages_editor import StagesEditor
from napari_cryospin.gui.panels.training_panel import TrainingPanel
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QWidget

    from napari_cryospin.engine.stages import Stage
    from napari_cryospin.gui.work.session import Session


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> TrainingPanel:
    panel = TrainingPanel(session)
    qtbot.addWidget(panel)
    with qtbot.waitExposed(panel):
        panel.show()
    return panel


def widget_of(panel: TrainingPanel, where: str) -> Any:
    (found,) = (shown.widget for field, shown in panel._widgets.items() if field.where == where)
    return found


def test_settings_from_a_file_are_shown_as_they_are(panel: TrainingPanel) -> None:
    settings = Settings.from_preset("cryospin")
    settings.device, settings.data.box = "cuda:1", 48
    settings.set("data.stack", Path("particles.star"))
    settings.threads = 2000
    panel.show_settings(settings)
    assert panel.settings(Path("particles.star"), None) == settings


def test_a_run_begins_warm_from_the_folder_that_is_named(
    panel: TrainingPanel, tmp_path: Path
) -> None:
    shown = widget_of(panel, "warm_start")
    assert panel.settings(Path("particles.star"), None).warm_start is None
    shown.line_edit.value = str(tmp_path)
    assert panel.settings(Path("particles.star"), None).warm_start == tmp_path
    assert shown.enabled
    # what has no encoder cannot
    panel.preset.value = "marginal"
    assert not shown.enabled


def test_only_an_encoder_has_heads(panel: TrainingPanel) -> None:
    heads = widget_of(panel, "model.heads")
    assert heads.enabled
    panel.preset.value = "marginal"
    assert not heads.enabled
    panel.stages.insert(Inference.AMORTIZED)
    assert heads.enabled
    panel.preset.value = "paper-synthetic"
    assert heads.enabled
    panel.preset.value = "marginal"
    assert not heads.enabled


def test_a_field_that_no_stage_heeds_is_closed(panel: TrainingPanel, guessed: type[Stage]) -> None:
    """Whatever the stages are: they say what they read."""
    names = ("model.heads", "model.shifts", "model.scales", "model.loss", "data.box")

    def open_to() -> list[bool]:
        return [widget_of(panel, name).enabled for name in names]

    assert open_to() == [True, True, True, True, True]
    panel.preset.value = "marginal"
    assert open_to() == [False, True, True, True, True]
    panel.stages.show_stages([guessed()])
    panel.stages.changed.emit()
    assert open_to() == [False, False, True, False, True]


def test_another_inference_is_in_the_form(panel: TrainingPanel, guessed: type[Stage]) -> None:
    editor = StagesEditor()
    panel.stages.layout().addWidget(editor)
    assert "Guessing" in [action.text() for action in editor.add.menu().actions()]
    editor.show_stages([DirectStage()])
    editor.insert(Inference("guessed"))
    assert editor.list.item(1).text() == "2. guessing, 2 epochs, 90°"
    assert (editor.form["angle"].max, editor.form["angle"].tooltip) == (180, "Angle, degrees.")


@pytest.mark.parametrize(("typed", "taken"), [("47", 46), ("64", 64), ("600", 60), ("20", 32)])
def test_a_box_is_even_and_within_its_range(
    qtbot: QtBot, panel: TrainingPanel, typed: str, taken: int
) -> None:
    box = widget_of(panel, "data.box").native
    box.setValue(32)
    box.selectAll()
    qtbot.keyClicks(box, typed)
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert box.value() == taken


@pytest.mark.parametrize("state", [SessionState.LOADING, SessionState.RUNNING, SessionState.PAUSED])
def test_the_form_of_a_run_under_way_is_its_own_and_locked(
    panel: TrainingPanel, session: Session, tmp_path: Path, state: SessionState
) -> None:
    assert not panel.locked.isVisible()
    panel.preset.value = "quick"
    session.settings, session.folder = Settings.from_preset("cryospin"), tmp_path / "run"
    session.settings.seed = 17
    seed = widget_of(panel, "seed")
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
