from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from command_calls import call
from napari_cryospin.engine.data.load import read_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["star", "cs"])
def test_poses_are_written_and_told(found_run: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"out.{kind}"
    result = call("export", found_run, "--format", kind, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"{out}: 200 particles with their poses." in result.stdout
    assert read_table(out).rotations is not None


def test_the_suffix_says_the_format(found_run: Path, tmp_path: Path) -> None:
    assert call("export", found_run, "--out", tmp_path / "out.cs").exit_code == 0
    assert read_table(tmp_path / "out.cs").n_particles == 200


def test_hand_and_contrast_are_turned(found_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.star"
    result = call("export", found_run, "--out", out, "--flip-hand", "--invert")
    assert result.exit_code == 0, result.output
    for name in ("out.star", "out.mrcs", "out_map.mrc"):
        assert str(tmp_path / name) in result.stdout
        assert (tmp_path / name).is_file()


def test_nothing_is_replaced(found_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.star"
    out.write_text("mine")
    commands = (
        ("export", found_run, "--out", out),
        ("posterior", found_run, "--particle", 1, "--png", out),
        ("survey", found_run, "--csv", out),
    )
    for command in commands:
        result = call(*command)
        assert result.exit_code == 2, command
        (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert "is there already and would be replaced" in sentence
    assert out.read_text() == "mine"


@pytest.mark.parametrize("name", ["nothing", "."])
def test_a_folder_without_a_run_is_one_sentence(tmp_path: Path, name: str) -> None:
    result = call("export", tmp_path / name, "--out", tmp_path / "out.star")
    assert result.exit_code == 2
    assert "no run folder" in result.stderr


def test_a_place_that_cannot_be_written_is_one_sentence(found_run: Path, tmp_path: Path) -> None:
    result = call("export", found_run, "--out", tmp_path / "nowhere" / "out.star")
    assert result.exit_code == 2
    assert "could not be written" in result.stderr


def test_nothing_is_written_where_the_run_will_write(found_run: Path) -> None:
    (found_run / "fsc.csv").unlink()
    for command in (
        ("posterior", found_run, "--particle", 1, "--png", found_run / "fsc.csv"),
        ("survey", found_run, "--csv", found_run / "fsc.csv"),
    ):
        result = call(*command)
        assert result.exit_code == 2, command
        assert "belongs to the run" in result.stderr
