"""The branch command: it makes a branch and runs it, or says from where there could be one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from command_calls import call, is_one_sentence
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.parent import read_parent

if TYPE_CHECKING:
    from pathlib import Path


def rows(folder: Path) -> list[str]:
    return [row["inference"] for row in RunFolder(folder).metrics()]


def test_it_is_made_and_run_to_its_end(finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "branch"
    result = call("branch", finished_run, "--at", 1, "--out", out, "--switch-at", "now")
    assert result.exit_code == 0, result.output
    assert "A branch of run after epoch 1, with switch at now." in result.stderr
    assert f"Map and poses are in {out}" in result.stderr
    assert rows(out) == ["amortized", "direct", "direct"]


def test_it_is_only_made_and_resumed_later(finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "branch"
    words = ["--set", "model.heads=2", "--set", "amortized.learning_rate_encoder = 5e-4"]
    words += ["--set", "stages.0.low_pass_end=", "--set", "seed=3"]
    result = call(
        "branch", finished_run, "--at", 1, "--out", out, *words, "--switch-at", 3, "--no-run"
    )
    assert result.exit_code == 0, result.output
    assert f"napari-cryospin reconstruct --out {out} --resume" in result.stdout
    settings = RunFolder(out).settings()
    assert (settings.model.heads, settings.seed) == (2, 3)
    assert settings.stages[0].learning_rate_encoder == 5e-4
    assert settings.stages[0].epochs == 3
    assert rows(out) == ["amortized"]
    changes = read_parent(RunFolder(out)).changes
    assert changes == {
        "model.heads": 2,
        "amortized.learning_rate_encoder": 5e-4,
        "stages.0.low_pass_end": None,
        "seed": 3,
    }
    result = call("reconstruct", "--out", out, "--resume")
    assert result.exit_code == 0, result.output
    assert rows(out) == ["amortized"] * 3 + ["direct"] * 2


def test_it_switches_back(finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "branch"
    result = call(
        "branch", finished_run, "--at", 4, "--out", out, "--switch-back", "--switch-at", 1
    )
    assert result.exit_code == 0, result.output
    assert rows(out) == ["amortized"] * 2 + ["direct"] * 2 + ["amortized"] + ["direct"] * 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Say where: {run} can be branched after epochs 1 to 4 (--at)."),
        (["--at", 7], "{run} cannot be branched from after epoch 7: it can be after epochs 1 to 4"),
        (["--at", 1, "--switch-at", "soon"], "--switch-at takes a number of epochs, 'now', 'auto'"),
        (["--at", 1, "--set", "heads"], "--set takes NAME=VALUE, such as model.heads=8, not"),
        (["--at", 1, "--set", "=8"], "--set takes NAME=VALUE, such as model.heads=8, not"),
        (["--at", 1, "--set", "model.heads=many"], "setting 'heads' is not usable"),
        (["--at", 1, "--set", "data.box=64"], "'data.box' shapes the particles and the map"),
        (["--at", 1, "--set", "model.teeth=3"], "setting 'teeth' is not usable"),
        (["--at", 1, "--set", "a.b.c=3"], "There is no setting a.b.c"),
    ],
)
def test_what_cannot_be_is_refused(
    finished_run: Path, tmp_path: Path, words: list[Any], sentence: str
) -> None:
    result = call("branch", finished_run, "--out", tmp_path / "branch", *words)
    assert result.exit_code == 2
    assert is_one_sentence(result), result.stderr
    assert sentence.format(run=finished_run) in result.stderr
    assert not (tmp_path / "branch").exists()


def test_a_folder_is_needed_and_a_run(finished_run: Path, tmp_path: Path) -> None:
    refused = call("branch", finished_run, "--at", 1)
    assert refused.exit_code == 2 and "No run folder was named" in refused.stderr
    refused = call("branch", tmp_path, "--at", 1, "--out", tmp_path / "branch")
    assert refused.exit_code == 2 and "is no run folder" in refused.stderr


def test_files_are_those_where_the_command_is_called(
    finished_run: Path, small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_stack)
    out = tmp_path / "branch"
    result = call(
        "branch", finished_run, "--at", 1, "--out", out, "--set", "data.stack=p.star", "--no-run"
    )
    assert result.exit_code == 0, result.output
    assert RunFolder(out).settings().data.stack == small_stack / "p.star"
