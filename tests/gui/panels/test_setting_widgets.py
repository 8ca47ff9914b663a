"""The fields of the forms: their ranges are those of the settings, whatever is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from napari_cryospin.engine.setting_fields import setting_field
from napari_cryospin.engine.stages import MOST
from napari_cryospin.gui.panels.setting_widgets import LARGEST, SettingWidget
from setting_names import all_fields, numbers

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.setting_fields import SettingField


def made(qtbot: QtBot, field: SettingField, value: Any) -> SettingWidget:
    shown = SettingWidget(field, "name", field.where, value)
    qtbot.addWidget(shown.widget.native)
    return shown


def test_a_field_takes_what_its_setting_takes(qtbot: QtBot) -> None:
    """From the first value to the last; a limit that is excluded is a step away."""
    for field in numbers():
        widget: Any = made(qtbot, field, None if field.optional else _some(field)).widget
        step = widget.step if field.type is float else 1
        least = widget.min + step if field.optional else widget.min
        assert field.low is not None
        assert least == pytest.approx(field.low + step * field.low_excluded), field.where
        no_limit = MOST if field.type is int else LARGEST
        high = no_limit if field.high is None else field.high - step * field.high_excluded
        assert widget.max == pytest.approx(high), field.where


def test_name_tip_and_choices_are_those_of_the_setting(qtbot: QtBot) -> None:
    for field in all_fields():
        if field.type.__name__ == "Path" or field.where == "preset":
            continue
        widget: Any = made(qtbot, field, None if field.optional else _some(field)).widget
        assert (widget.label, widget.tooltip) == (field.title, field.description)
        assert not field.choices or widget.choices == field.choices


def _some(field: SettingField) -> Any:
    if field.choices or field.type is bool:
        return field.choices[0] if field.choices else True
    assert field.low is not None
    return field.low + 1 if field.high is None else (field.low + field.high) // 2 or 0.5


@pytest.mark.parametrize(
    ("where", "word"),
    [
        ("threads", "all but one"),
        ("data.max_particles", "all"),
        ("model.encoder_width", "by box"),
        ("direct.low_pass_end", "none"),
    ],
)
def test_what_is_left_open_is_said_in_a_word(qtbot: QtBot, where: str, word: str) -> None:
    shown = made(qtbot, setting_field(where), 8)
    assert shown.value == 8
    shown.value = None
    assert shown.value is None
    assert shown.widget.native.text() == word


@pytest.mark.parametrize("value", [1e-7, 0.00025, 0.05, 0.5])
def test_a_small_number_is_shown_as_it_is(qtbot: QtBot, value: float) -> None:
    for where in ("direct.learning_rate_pose", "held_out"):
        shown = made(qtbot, setting_field(where), 0.1)
        shown.value = value
        assert shown.value == pytest.approx(value, rel=1e-6)


def test_what_a_file_holds_beyond_the_form_is_shown(qtbot: QtBot) -> None:
    shown = made(qtbot, setting_field("device"), "cuda:1")
    assert shown.value == "cuda:1"
    wide = made(qtbot, setting_field("data.mask_diameter"), 1e7)
    assert wide.value == 1e7


def test_a_folder_is_named_or_left_open(qtbot: QtBot, tmp_path: Path) -> None:
    shown = made(qtbot, setting_field("warm_start"), None)
    assert shown.value is None
    shown.value = tmp_path
    assert shown.value == tmp_path
    shown.widget.line_edit.value = "  "
    assert shown.value is None
