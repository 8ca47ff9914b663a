from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.settings import Settings
from napari_cryospin.gui.training_panel import TrainingPanel

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.session import Session

STACK = Path("particles.star")


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> TrainingPanel:
    made = TrainingPanel(session)
    qtbot.addWidget(made)
    return made


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("encode", "learning_rate_encoder", 3e-5),
        ("decode", "learning_rate_volume", 2.5e-4),
        ("decode", "final_rate", 0.001),
        ("decode", "batch_size", 5000),
        ("encode", "epochs", 20_000),
        ("data", "box", 50),
        (None, "device", "cuda:1"),
        (None, "seed", 2**40),
        (None, "threads", 4),
    ],
)
def test_a_run_from_elsewhere_keeps_its_settings(
    panel: TrainingPanel, section: str | None, name: str, value: Any
) -> None:
    given = Settings.from_preset("quick")
    setattr(getattr(given, section) if section else given, name, value)
    panel.show_settings(given)
    back = panel.settings(STACK, None)
    assert getattr(getattr(back, section) if section else back, name) == value


def test_the_published_rates_are_shown_as_they_are(panel: TrainingPanel) -> None:
    panel.preset.value = "paper-synthetic"
    assert panel._by_where("encode.learning_rate_encoder").value == "0.0001"


@pytest.mark.parametrize("typed", ["fast", "", "-1"])
def test_a_value_that_cannot_be_used_is_named(panel: TrainingPanel, typed: str) -> None:
    panel._by_where("decode.learning_rate_pose").value = typed
    with pytest.raises(InputError, match=r"^Rate of poses \(rad\): .*learning_rate_pose"):
        panel.settings(STACK, None)


def test_zero_stands_for_the_default(panel: TrainingPanel) -> None:
    panel._by_where("data.mask_diameter").value = 0
    assert panel.settings(STACK, None).data.mask_diameter is None
    panel._by_where("data.mask_diameter").value = 150
    assert panel.settings(STACK, None).data.mask_diameter == 150


def test_a_folder_that_is_new_or_empty_is_taken(panel: TrainingPanel, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "new"):
        panel.run_folder.value = folder
        assert panel.new_folder() == folder


def test_in_a_folder_that_holds_files_a_new_one_is_made(
    panel: TrainingPanel, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    panel.run_folder.value = tmp_path
    assert panel.new_folder().parent == tmp_path
    assert panel.folder == panel.new_folder()


def test_a_new_run_goes_beside_an_old_one(panel: TrainingPanel, tmp_path: Path) -> None:
    old = tmp_path / "run"
    old.mkdir()
    (old / "settings.toml").write_text("seed = 0\n")
    panel.run_folder.value = old
    new = panel.new_folder()
    assert new.parent == tmp_path
    assert new != old
