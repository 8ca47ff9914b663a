"""The symmetrise command, and a run that goes on by itself with the symmetry that it has found."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from command_calls import call, is_one_sentence
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.metrics import write_metrics
from napari_cryospin.engine.runfolder.parent import read_parent

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.run.reconstruction import Reconstruction


pytestmark = pytest.mark.usefixtures("small_searches")


def told(run: Path, symmetry: str | None) -> None:
    """Have the verdict on a run name a symmetry."""
    folder = RunFolder(run)
    verdict = folder.verdict()
    assert verdict is not None
    folder.write_verdict(replace(verdict, symmetry=symmetry))


def test_it_goes_on_with_what_the_verdict_names(copied_run: Path) -> None:
    told(copied_run, "C3")
    result = call("symmetrise", copied_run, "--no-run")
    assert result.exit_code == 0, result.output
    out = copied_run.with_name(f"{copied_run.name}_C3")
    assert f"goes on with C3 in {out}" in result.stdout
    assert RunFolder(out).settings().model.symmetry == "C3"
    # a second one would be written over the first
    again = call("symmetrise", copied_run, "--no-run")
    assert again.exit_code == 2 and is_one_sentence(again)
    assert "is not empty" in again.stderr


def test_another_group_can_be_named(copied_run: Path, tmp_path: Path) -> None:
    told(copied_run, "D2")
    out = tmp_path / "half"
    result = call("symmetrise", copied_run, "--symmetry", "c2", "--out", out, "--no-run")
    assert result.exit_code == 0, result.output
    parent = read_parent(RunFolder(out))
    assert parent is not None and parent.symmetrise == "C2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "No symmetry was found in the map of"),
        (("--symmetry", "Q"), "There is no symmetry Q"),
        (("--symmetry", "C1"), "no symmetry to go on with"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(
    copied_run: Path, words: tuple[str, ...], said: str
) -> None:
    told(copied_run, None)
    result = call("symmetrise", copied_run, *words)
    assert result.exit_code == 2 and is_one_sentence(result)
    assert said in result.stderr
    assert [path.name for path in copied_run.parent.iterdir()] == [copied_run.name]


def test_an_empty_folder_name_is_not_the_default(copied_run: Path) -> None:
    told(copied_run, "C3")
    result = call("symmetrise", copied_run, "--out", "", "--no-run")
    assert result.exit_code == 2 and is_one_sentence(result)
    assert "was named: give one with --out" in result.stderr
    assert [path.name for path in copied_run.parent.iterdir()] == [copied_run.name]


def test_a_folder_without_a_run_is_told_to_be_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        result = call("symmetrise", folder)
        assert result.exit_code == 2 and is_one_sentence(result)
        assert f"{folder} is no run folder" in result.stderr


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders of the runs that are followed, none of which is run."""
    found: list[Path] = []

    def follow(run: Reconstruction) -> int:
        found.append(run.folder.path)
        return 0

    monkeypatch.setattr("napari_cryospin.cli.run.follow", follow)
    return found


def test_a_run_goes_on_by_itself(copied_run: Path, followed: list[Path]) -> None:
    """A finished run is resumed: its verdict names a group, and the second run is under way."""
    told(copied_run, "C2")
    result = call("reconstruct", "--out", copied_run, "--resume", "--symmetrise")
    out = copied_run.with_name(f"{copied_run.name}_C2")
    assert result.exit_code == 0, result.output
    assert followed == [copied_run, out]
    assert f"The run goes on with C2 in {out}" in result.stdout
    # where it is there already, it is gone on with
    assert call("reconstruct", "--out", copied_run, "--resume", "--symmetrise").exit_code == 0
    assert followed[2:] == [copied_run, out]
    # it finds a larger one in its turn
    followed.clear()
    shutil.copyfile(copied_run / "verdict.json", out / "verdict.json")
    told(out, "C4")
    assert call("reconstruct", "--out", copied_run, "--resume", "--symmetrise").exit_code == 0
    assert followed == [copied_run, out, out.with_name(f"{out.name}_C4")]
    followed.clear()
    told(copied_run, None)
    assert call("reconstruct", "--out", copied_run, "--resume", "--symmetrise").exit_code == 0
    assert followed == [copied_run]


def test_a_run_goes_on_only_in_its_own_branch(copied_run: Path, followed: list[Path]) -> None:
    """What is called RUN_C2 may be anything: of a run that was there before, or no branch."""
    told(copied_run, "C2")
    again = ("reconstruct", "--out", copied_run, "--resume", "--symmetrise")
    assert call(*again).exit_code == 0
    out = copied_run.with_name(f"{copied_run.name}_C2")
    assert followed == [copied_run, out]
    folder, branch = RunFolder(copied_run), RunFolder(out)
    parent = read_parent(branch)
    rows = folder.metrics()
    assert parent is not None and rows

    def refused() -> None:
        followed.clear()
        result = call(*again)
        assert result.exit_code == 2 and is_one_sentence(result), result.output
        assert f"{out} is there already and does not go on with C2 from the end" in result.stderr
        assert followed == [copied_run]

    # the run was made again, of other particles or with another seed
    for wrong in (
        {"run": "0" * 16},
        {"symmetrise": "C3"},
        {"symmetrise": None},
        {"epoch": parent.epoch - 1},
    ):
        parent.model_copy(update=wrong).write(branch.parent_path)
        refused()
    parent.write(branch.parent_path)
    # with other learning rates, which may be changed in the course of a run
    write_metrics(folder.metrics_path, [*rows[:-1], rows[-1] | {"loss": "0.123"}])
    refused()
    write_metrics(folder.metrics_path, rows)
    assert call(*again).exit_code == 0
    # a run that is no branch at all
    branch.parent_path.unlink()
    refused()
    branch.parent_path.write_text("{")
    refused()
