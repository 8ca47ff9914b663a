"""Options that are settings: their types, ranges and words are those of the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from command_calls import call, is_one_sentence
from napari_cryospin.cli.app import app as whole
from napari_cryospin.cli.options import given_settings, with_settings
from napari_cryospin.engine.flags import flags
from napari_cryospin.engine.run.command import command_line
from napari_cryospin.engine.setting_fields import setting_field
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from napari_cryospin.engine.run.reconstruction import Reconstruction
    from napari_cryospin.engine.stages import Stage

ENCODING = "default, quick, cryospin, paper-synthetic or paper-experimental"


def command() -> tuple[typer.Typer, list[dict[str, Any]]]:
    """A command with the options of all settings, and what it was given."""
    app, given = typer.Typer(), []

    @app.command()
    @with_settings
    def tell(**settings: Any) -> None:
        given.append(given_settings(settings))

    return app, given


def test_help_says_what_a_setting_is_and_its_range(guessed: type[Stage]) -> None:
    app, _ = command()
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "400"}).stdout
    lines = [line.strip("│ ") for line in shown.splitlines()]
    for where, flag in flags().items():
        field = setting_field(where)
        (line,) = (each for each in lines if re.match(rf"{flag}\s", each))
        assert field.description[1:] in line
        assert not field.range or f"({field.range})" in line
    (epochs,) = (each for each in lines if each.startswith("--epochs-guess"))
    assert "Guessing, first stage: epochs, at most. (at least 0)" in epochs


def test_what_is_given_has_the_settings_types(tmp_path: Path) -> None:
    app, given = command()
    words = "--box 64 --voltage 200 --no-shifts --contrast black --device cuda:1 --datadir here"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.output
    (told,) = given
    assert told.pop("data.datadir").is_absolute()
    assert told == {
        "data.box": 64,
        "data.voltage": 200.0,
        "model.shifts": False,
        "data.contrast": "black",
        "device": "cuda:1",
    }
    assert all(type(value) is setting_field(where).type for where, value in told.items())
    for wrong in ("--box big", "--contrast grey", "--voltage high"):
        assert CliRunner().invoke(app, wrong.split()).exit_code == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--preset", "marginal", "--heads", "3"],
            f"--heads: no stage of the run knows it; choose a preset that has such a stage: "
            f"{ENCODING}.",
        ),
        (
            ["--preset", "marginal", "--epochs-encode", "3"],
            "--epochs-encode: no stage of the run knows it; choose a preset that has such a "
            f"stage: {ENCODING}.",
        ),
        (
            ["--preset", "marginal", "--switch-at", "3"],
            "--switch-at: no stage of the run knows it; choose a preset that has such a stage: "
            f"{ENCODING}.",
        ),
        (
            ["--preset", "paper-synthetic", "--epochs-marginal", "3"],
            "--epochs-marginal: no stage of the run knows it; choose a preset that has such a "
            "stage: marginal.",
        ),
        (["--passthrough", "p.cs"], "A passthrough file goes with a .cs file, not with particles"),
    ],
)
def test_an_option_that_does_not_apply_is_refused(
    small_stack: Path, tmp_path: Path, options: list[str], sentence: str
) -> None:
    star = small_stack / "particles.star"
    refused = call("reconstruct", star, "--out", tmp_path / "r", *options)
    assert refused.exit_code == 2
    assert is_one_sentence(refused)
    assert f"Error: {sentence}" in refused.stderr
    assert not (tmp_path / "r").exists()


def test_a_settings_files_own_stages_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Reconstruction] = []
    monkeypatch.setattr("napari_cryospin.cli.run.follow", lambda run: runs.append(run) or 0)
    path = tmp_path / "s.toml"
    path.write_text('preset = "default"\n[[stages]]\ninference = "amortized"\n')
    words = ["reconstruct", "p.star", "--out", tmp_path / "r", "--settings", path]
    assert call(*words, "--heads", 3).exit_code == 0
    assert runs[0].settings.model.heads == 3
    assert call(*words, "--epochs-decode", 3).exit_code == 2


@pytest.mark.parametrize("preset", ["marginal", "paper-synthetic"])
def test_a_run_is_told_by_options_that_its_stages_know(preset: str, tmp_path: Path) -> None:
    settings = Settings.from_preset(preset)
    settings.data.stack = tmp_path / "p.star"
    settings.model.heads, settings.model.shifts = 5, not settings.model.shifts
    line = command_line(settings, tmp_path / "run")
    if preset == "marginal":
        # heads that no stage heeds are said by the file alone
        assert "--heads" not in line and "--settings" in line
    else:
        assert line.endswith("--preset paper-synthetic --heads 5 --shifts")


def test_the_page_has_every_option_in_the_section_of_its_command() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "command-line.md").read_text("utf-8")
    named = re.split(r"^## `([\w-]+)`$", page, flags=re.MULTILINE)[1:]
    sections = dict(zip(named[::2], named[1::2], strict=True))
    commands = typer.main.get_command(whole).commands
    assert sections.keys() - {"napari-cryospin"} == commands.keys()
    for name, each in commands.items():
        told = set(re.findall(r"--[a-z][\w-]*", sections[name].partition("\n## ")[0]))
        known = {option for field in each.params for option in field.opts if option[:2] == "--"}
        refused = {option for field in each.params for option in field.secondary_opts}
        assert known - told == set(), name
        # of another command, named beside
        assert told - known - refused <= {"--png"}, name
