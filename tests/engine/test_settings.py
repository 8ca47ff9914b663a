from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.training import Clock
from napari_cryospin.engine.settings import PRESETS, Settings, Stage, first_problem

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_a_file(name: str, tmp_path: Path) -> None:
    settings = Settings.from_preset(name)
    path = tmp_path / "settings.toml"
    path.write_text(settings.to_toml(), encoding="utf-8")
    assert Settings.from_toml(path) == settings


def test_the_papers_figures() -> None:
    synthetic = Settings.from_preset("paper-synthetic")
    experimental = Settings.from_preset("paper-experimental")
    for paper in (synthetic, experimental):
        assert paper.data.box == 128
        assert (paper.encode.batch_size, paper.decode.batch_size) == (64, 64)
        assert paper.encode.learning_rate_encoder == 1e-4
        assert paper.encode.learning_rate_volume == 5e-3
        assert paper.decode.learning_rate_volume == 2e-3
        assert paper.decode.learning_rate_pose == 5e-2
        assert paper.decode.pose_steps == 5
        assert paper.decode.final_rate == 1
        assert paper.search.epochs == 0
    assert (synthetic.model.heads, synthetic.encode.epochs, synthetic.decode.epochs) == (7, 7, 13)
    assert (experimental.model.heads, experimental.encode.epochs) == (15, 15)
    assert experimental.decode.epochs == 15
    assert experimental.model.shifts


def test_unknown_preset() -> None:
    with pytest.raises(InputError, match="no preset 'fast'"):
        Settings.from_preset("fast")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[model]\nheads = 0", "model.heads"),
        ("[model]\nhats = 3", "model.hats"),
        ("box = ", "TOML"),
    ],
)
def test_damaged_settings_are_one_sentence(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        Settings.from_toml(path)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_assignments_are_validated() -> None:
    settings = Settings()
    with pytest.raises(ValidationError) as caught:
        settings.model.heads = -1
    assert "heads" in first_problem(caught.value)


@pytest.mark.parametrize(
    ("switch_at", "switches", "total"), [(None, 3, 8), (1, 1, 6), (0, 0, 5), ("never", None, 8)]
)
def test_the_rule_of_the_switch(
    switch_at: int | str | None, switches: int | None, total: int
) -> None:
    settings = Settings(switch_at=switch_at)
    settings.encode.epochs, settings.decode.epochs = 3, 5
    clock = Clock()
    while clock.epoch < clock.n_epochs(settings):
        if clock.switch_due(settings):
            clock.switched_at = clock.epoch
        clock.epoch += 1
    assert clock.switched_at == switches
    assert clock.epoch == total
    assert clock.stage is (Stage.AUTO_ENCODING if switches is None else Stage.AUTO_DECODING)
