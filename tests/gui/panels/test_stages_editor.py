"""The stages of a run in the dock: shown, changed, moved, added and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt

from napari_cryospin.engine.presets import PRESETS
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import AmortizedStage, DirectStage, Inference, MarginalStage
from napari_cryospin.gui.panels.stages_editor import StagesEditor

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


@pytest.fixture
def editor(qtbot: QtBot) -> StagesEditor:
    editor = StagesEditor()
    qtbot.addWidget(editor)
    editor.show_stages([AmortizedStage(), MarginalStage(), DirectStage()])
    return editor


def kinds(editor: StagesEditor) -> list[Inference]:
    return [stage.inference for stage in editor.stages]


@pytest.mark.parametrize("preset", PRESETS)
def test_all_presets_come_back(editor: StagesEditor, preset: str) -> None:
    stages = Settings.from_preset(preset).stages
    editor.show_stages(stages)
    for row in range(len(stages)):
        editor.list.setCurrentRow(row)
    assert editor.stages == stages
    assert editor.list.count() == len(stages)


def test_the_form_changes_the_chosen_stage(qtbot: QtBot, editor: StagesEditor) -> None:
    editor.list.setCurrentRow(1)
    with qtbot.waitSignal(editor.changed):
        editor.form["nside"].value = 8
    editor.form["low_pass_end"].value = 12.5
    editor.form["until"].value = "hand"
    editor.form["epochs"].value = 9
    stage = editor.stages[1]
    assert (stage.nside, stage.low_pass_end, stage.until, stage.epochs) == (8, 12.5, "hand", 9)
    assert editor.list.item(1).text() == "2. marginalisation, 9 epochs, ended by hand, nside 8"
    editor.form["low_pass_end"].value = 0
    assert editor.stages[1].low_pass_end is None


@pytest.mark.parametrize("name", ["hypotheses", "batch_size", "visit_rate", "low_pass_end"])
@pytest.mark.parametrize("typed", ["0", "20", "-3", "soon", "0.5"])
def test_the_form_shows_what_the_stage_has(
    qtbot: QtBot, editor: StagesEditor, name: str, typed: str
) -> None:
    """Whatever is typed: a field takes no value that the setting would refuse."""
    editor.list.setCurrentRow(2)
    line = editor.form[name].native
    line.selectAll()
    qtbot.keyClicks(line, typed)
    qtbot.keyClick(line, Qt.Key.Key_Return)
    stage = editor.stages[2]
    assert editor.form[name].value == (getattr(stage, name) or 0)
    assert DirectStage.model_validate(stage.model_dump()) == stage


def test_a_small_share_can_be_typed(qtbot: QtBot, editor: StagesEditor) -> None:
    editor.list.setCurrentRow(2)
    assert editor.stages[2].visit_rate == 1.0
    line = editor.form["visit_rate"].native
    line.selectAll()
    qtbot.keyClicks(line, "0.05")
    assert editor.stages[2].visit_rate == pytest.approx(0.05)


def test_no_low_pass_is_called_none(editor: StagesEditor) -> None:
    editor.form["low_pass_end"].value = 0
    assert editor.form["low_pass_end"].native.text() == "none"
    assert editor.stages[0].low_pass_end is None


def test_stages_are_moved_removed_and_added(editor: StagesEditor) -> None:
    editor.list.setCurrentRow(2)
    assert not editor.later.isEnabled()
    editor.earlier.click()
    assert kinds(editor) == [Inference.AMORTIZED, Inference.DIRECT, Inference.MARGINAL]
    editor.list.setCurrentRow(0)
    assert not editor.earlier.isEnabled()
    editor.remove.click()
    editor.later.click()
    assert kinds(editor) == [Inference.MARGINAL, Inference.DIRECT]
    editor.insert(Inference.AMORTIZED)
    assert kinds(editor)[-1] is Inference.AMORTIZED
    for _ in range(2):
        editor.remove.click()
    # a run needs a stage
    assert len(editor.stages) == 1
    assert not editor.remove.isEnabled()


def test_changes_do_not_reach_the_settings_that_were_shown(editor: StagesEditor) -> None:
    shown = [MarginalStage()]
    editor.show_stages(shown)
    editor.form["epochs"].value = 3
    assert shown == [MarginalStage()]


def test_fields_that_change_nothing_are_closed(editor: StagesEditor) -> None:
    editor.list.setCurrentRow(2)
    rates = ["learning_rate_pose", "visit_rate", "learning_rate_volume", "final_rate"]

    def open_ones() -> list[str]:
        return [name for name in rates if editor.form[name].enabled]

    assert open_ones() == rates
    editor.form["pose_update"].value = "gauss-newton"
    assert open_ones() == ["learning_rate_volume", "final_rate"]
    editor.form["volume_update"].value = "closed form"
    assert open_ones() == []
    editor.form["pose_update"].value = "adam"
    assert open_ones() == ["learning_rate_pose", "visit_rate", "final_rate"]
    editor.list.setCurrentRow(1)
    assert editor.form["temperature"].enabled
    editor.form["quadrature"].value = "exact"
    assert not editor.form["temperature"].enabled and editor.form["memory"].enabled
