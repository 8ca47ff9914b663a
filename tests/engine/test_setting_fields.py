"""What is read of a setting is what the setting takes."""

from __future__ import annotations

from typing import Any

import pytest

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.setting_fields import SettingField, setting_field
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import MOST, AmortizedStage, DirectStage, MarginalStage
from setting_names import all_fields, numbers


def takes(field: SettingField, value: Any) -> bool:
    """Whether a settings file may hold the value."""
    settings = Settings(stages=[AmortizedStage(), DirectStage(), MarginalStage()])
    try:
        settings.set(field.where, value)
    except InputError:
        return False
    assert Settings.model_validate(settings.model_dump(mode="json")).get(field.where) == value
    return True


@pytest.mark.parametrize("field", numbers(), ids=lambda field: field.where)
def test_the_range_that_is_read_is_the_one_that_files_have(field: SettingField) -> None:
    step = field.multiple_of or (1 if field.type is int else 1e-9)
    assert field.low is not None
    for limit, excluded, inwards in (
        (field.low, field.low_excluded, 1),
        (field.high, field.high_excluded, -1),
    ):
        if limit is None:
            assert takes(field, 1e9)
            continue
        # a billionth beside a large number is that number
        beside = step * max(abs(limit), 1) if field.type is float else step
        assert takes(field, limit) is not excluded
        assert takes(field, limit + inwards * beside)
        assert not takes(field, limit - inwards * beside)
    assert takes(field, None) is field.optional
    if field.multiple_of is not None:
        assert not takes(field, field.low + 1)


@pytest.mark.parametrize("field", all_fields(), ids=lambda field: field.where)
def test_every_setting_says_what_it_is(field: SettingField) -> None:
    assert field.description.endswith((".", "none"))
    assert field.title
    for choice in field.choices:
        assert takes(field, choice)
    assert field.usual or not field.choices or not takes(field, "something else")


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("model.heads", "1 to 64"),
        ("data.box", "32 to 512, a multiple of 2"),
        ("direct.visit_rate", "above 0, at most 1"),
        ("data.voltage", "above 0, below 10000"),
        ("marginal.epochs", "at least 0"),
        ("model.shifts", ""),
    ],
)
def test_ranges_are_told_in_words(where: str, words: str) -> None:
    assert setting_field(where).range == words


def test_whole_numbers_fit_into_a_field_of_the_window() -> None:
    assert all(
        field.high is not None and field.high <= MOST for field in numbers() if field.type is int
    )


@pytest.mark.parametrize(
    ("where", "presets"),
    [
        ("model.heads", "default, quick, cryospin, paper-synthetic or paper-experimental"),
        ("amortized.epochs", "default, quick, cryospin, paper-synthetic or paper-experimental"),
        ("marginal.epochs", "marginal"),
        ("model.scales", "default, quick or marginal"),
    ],
)
def test_a_setting_that_no_stage_heeds_names_the_presets_that_have_one(
    where: str, presets: str
) -> None:
    for preset in ("default", "marginal", "paper-synthetic"):
        settings = Settings.from_preset(preset)
        if preset in presets:
            settings.require_known(where, "--it")
            continue
        with pytest.raises(InputError) as caught:
            settings.require_known(where, "--it")
        assert str(caught.value) == (
            f"--it: no stage of the run knows it; choose a preset that has such a stage: {presets}."
        )
