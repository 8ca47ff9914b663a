from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from command_calls import SMALL, call
from small_searches import made_small

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def small(small_searches: None) -> None:
    """Searches and judgements are small in all of these tests."""


@pytest.fixture(scope="session")
def command_story(small_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder of a run, and what the command that made it printed."""
    out = tmp_path_factory.mktemp("cli") / "run"
    with made_small():
        result = call("reconstruct", small_stack / "particles.star", "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    return out, result.output


@pytest.fixture(scope="session")
def command_run(command_story: tuple[Path, str]) -> Path:
    """Folder of a run that the command made: read it, do not write into it."""
    return command_story[0]
