"""A run that was steered by hand is repeated by its command line."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np
import pytest

from command_calls import call, is_one_sentence
from disturbed import count, is_same
from napari_cryospin.engine import events
from napari_cryospin.engine.run.command import command_line
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def steered(tiny_settings: Settings, tmp_path: Path) -> RunFolder:
    """Folder of a run of half a second that dropped particles, was switched, and stopped."""
    tiny_settings.stages[0].epochs, tiny_settings.stages[0].until = 5, "hand"
    tiny_settings.stages[1].epochs = 3
    run = Reconstruction(tiny_settings, tmp_path / "run")
    first, decoding = count(events.BatchDone, 1), count(events.BatchDone, 3)
    for event in run.run():
        if first(event):
            run.controls.set_used(np.arange(40) > 9)
            run.controls.switch()
        elif decoding(event):
            run.controls.stop()
    assert isinstance(event, events.Finished) and event.stopped
    return run.folder


def test_a_steered_run_is_repeated_by_its_command_line(steered: RunFolder) -> None:
    line = shlex.split(command_line(steered.settings(), steered.path))
    assert line[-4:] == [
        "--settings",
        str(steered.settings_path),
        "--commands",
        str(steered.commands_path),
    ]
    result = call(*line[1:])
    assert result.exit_code == 0, result.output
    assert "begins by hand after batch 1 of 2 of epoch 1." in result.stderr
    again = RunFolder(steered.path.with_name("run-again"))
    assert is_same(again, steered)
    assert again.commands() == steered.commands()
    # the command of a job that is begun again and again goes on with what it has
    result = call(*line[1:], "--resume")
    assert result.exit_code == 0, result.output
    assert [one.command for one in again.commands()] == ["particles", "switch"]


def test_settings_without_the_commands_are_told(steered: RunFolder, tmp_path: Path) -> None:
    settings = steered.settings_path
    result = call("reconstruct", "--settings", settings, "--out", tmp_path / "r", "--voltage", -1)
    assert result.exit_code == 2
    assert "steered by hand" not in result.stderr
    result = call("reconstruct", "--settings", settings, "--out", tmp_path / "r")
    assert result.exit_code == 0, result.output
    assert f"--commands {steered.commands_path} to repeat it" in result.stderr
    assert not (tmp_path / "r" / "commands.jsonl").exists()


def test_commands_that_are_none_are_refused(steered: RunFolder, tmp_path: Path) -> None:
    for commands in (steered.settings_path, tmp_path / "absent.jsonl", tmp_path):
        refused = call(
            "reconstruct",
            "--settings",
            steered.settings_path,
            "--commands",
            commands,
            "--out",
            tmp_path / "r",
        )
        assert refused.exit_code == 2
        assert is_one_sentence(refused) and str(commands) in refused.stderr
        assert not (tmp_path / "r").exists()
