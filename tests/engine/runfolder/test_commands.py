"""The file of what was done by hand in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.commands import (
    Command,
    Moment,
    ranges,
    read_commands,
    write_commands,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_choice_is_written_as_ranges() -> None:
    used = np.zeros(140, bool)
    used[:120] = used[132] = used[138:] = True
    moment = Moment(epoch=1, stage=1, start=1)
    command = Command.at(moment, "particles", used)
    assert command.used == ranges(used) == "1-120,133,139-140"
    assert np.array_equal(command.chosen(), used)


def test_who_belongs_by_hand_is_written_as_ranges() -> None:
    by_hand = np.zeros(140, np.int8)
    by_hand[3:9], by_hand[[0, 139]] = 1, -1
    command = Command.members_at(Moment(epoch=1, stage=1, start=1), by_hand)
    assert (command.belong, command.apart, command.particles) == ("4-9", "1,140", 140)
    assert np.array_equal(command.by_hand(), by_hand)
    nothing = Command.members_at(Moment(epoch=1, stage=1, start=1), by_hand * 0)
    assert set(nothing.figures()) == {"command", "epoch", "stage", "start", "particles"}
    assert not nothing.by_hand().any()


WHEN = '"epoch": 1, "stage": 1, "start": 1'


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("switch", "Invalid JSON"),
        ("", "Invalid JSON"),
        ("[1]", "should be an object"),
        (f'{{"command": "dance", {WHEN}}}', "'command'"),
        ('{"command": "switch", "epoch": 0, "stage": 1, "start": 1}', "'epoch'"),
        (f'{{"command": "switch", {WHEN}, "batch": -1}}', "'batch'"),
        (f'{{"command": "particles", {WHEN}}}', "needs 'used' and 'particles'"),
        (f'{{"command": "particles", {WHEN}, "used": "1-3,x", "particles": 9}}', "such as 1-120"),
        (f'{{"command": "particles", {WHEN}, "used": "5-3", "particles": 9}}', "ascend"),
        (f'{{"command": "particles", {WHEN}, "used": "1-10", "particles": 9}}', "ascend"),
        (f'{{"command": "particles", {WHEN}, "used": "4", "particles": 9}}', "at least 2"),
        (f'{{"command": "members", {WHEN}, "belong": "1"}}', "number of 'particles'"),
        (f'{{"command": "members", {WHEN}, "apart": "7-9", "particles": 8}}', "ascend"),
    ],
)
def test_what_is_no_command_is_told_by_its_line(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "commands.jsonl"
    path.write_text(f'{{"command": "stop", {WHEN}}}\n{line}\n')
    with pytest.raises(InputError, match=f"{path}: line 2 is no command: .*{why}") as told:
        read_commands(path)
    assert "\n" not in str(told.value) and str(told.value).endswith(".")


def test_no_command_leaves_no_file(tmp_path: Path) -> None:
    path, stop = tmp_path / "commands.jsonl", Command(command="stop", epoch=2, stage=1, start=1)
    write_commands(path, [stop])
    assert read_commands(path) == [stop]
    write_commands(path, [])
    assert not path.exists()
