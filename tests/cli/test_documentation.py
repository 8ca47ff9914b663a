"""The pages say of the command line, and of what a run tells, all that there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest
import typer

from napari_cryospin.cli.app import app
from napari_cryospin.engine.runfolder.commands import Command, Kind
from napari_cryospin.engine.runfolder.verdict import Cause

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = typer.main.get_command(app).commands
PAGE = (DOCS / "command-line.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_synopsis_has_all_options(name: str) -> None:
    synopsis = re.search(rf"^## `{name}`\n\n```\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert synopsis is not None
    options = {option for each in COMMANDS[name].params for option in each.opts[:1]}
    told = set(re.findall(r"--[\w-]+", synopsis[1]))
    assert {option for option in options if option.startswith("--")} <= told


def test_every_kind_of_command_has_a_line() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith('{"command"')]
    assert {json.loads(line)["command"] for line in lines} == set(get_args(Kind))
    for line in lines:
        assert Command.model_validate_json(line)


def test_every_cause_is_explained() -> None:
    rows = (DOCS / "stages.md").read_text(encoding="utf-8")
    assert [cause for cause in Cause if f"\n| {cause} |" not in rows] == []
