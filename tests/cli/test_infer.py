from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import starfile

from command_calls import call, is_one_sentence
from napari_cryospin.engine.run.inferring import Teachings

if TYPE_CHECKING:
    from pathlib import Path


def test_poses_are_written_and_the_rate_is_told(
    finished_run: Path, small_stack: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.star"
    words = ("infer", finished_run, small_stack / "particles.star", "--out", out)
    result = call(*words, "--max-particles", 50, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert f"{out}: 50 particles with their poses, " in result.stdout
    assert " a second; " in result.stdout
    table = starfile.read(out)["particles"]
    assert len(table) == 50
    assert {"rlnAngleRot", "cryospinPoseWeight", "cryospinLogLikelihood"} <= set(table)
    again = call(*words)
    assert again.exit_code == 2 and is_one_sentence(again)
    assert "is there already" in again.stderr


def test_a_bare_stack_will_do(finished_run: Path, small_stack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.star"
    stack = small_stack / "particles.mrcs"
    result = call("infer", finished_run, stack, "--out", out, "--pixel-size", 4, "--no-refine")
    assert result.exit_code == 0, result.output
    assert "without CTF" in result.stderr
    assert len(starfile.read(out)["particles"]) == 200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--out", "out.txt"), "let it end with .star"),
        (("--out", "nowhere/out.star"), "There is no folder"),
        (("--out", "out.star", "--pixel-size", "2"), "are 64 Å wide, and those of the run 128 Å"),
        (("--out", "out.star", "--device", "abacus"), "The device 'abacus'"),
    ],
)
def test_what_cannot_be_is_refused(
    finished_run: Path,
    small_stack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("infer", finished_run, small_stack / "particles.star", *words)
    assert result.exit_code == 2 and is_one_sentence(result)
    assert told in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_run_without_an_encoder(tiny_run: Path, small_stack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.star"
    result = call("infer", tiny_run, small_stack / "particles.star", "--out", out)
    assert result.exit_code == 2 and is_one_sentence(result)
    assert "holds no encoder" in result.stderr


def test_ctrl_c_leaves_nothing(
    finished_run: Path, small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Teachings.infer

    def interrupted(self: Teachings, *particles: object, **options: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return infer(self, *particles, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Teachings, "infer", interrupted)
    out = tmp_path / "out.star"
    result = call("infer", finished_run, small_stack / "particles.star", "--out", out)
    assert result.exit_code == 130
    assert not list(tmp_path.iterdir())
