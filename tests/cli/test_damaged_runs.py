"""Every command on every kind of damaged run: it works, or says why not in one sentence."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from damage import BEYOND_RESUME, FOREIGN, OF_THE_LAST_CHECKPOINT, OF_VIEWERS
from napari_cryospin.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {
    **{f"viewers-{name}": damage for name, damage in OF_VIEWERS.items()},
    **{f"checkpoint-{name}": damage for name, damage in OF_THE_LAST_CHECKPOINT.items()},
    **{f"beyond-{name}": damage for name, damage in BEYOND_RESUME.items()},
    **{f"foreign-{name}": damage for name, damage in FOREIGN.items()},
}
_POSTERIOR = ["posterior", "RUN", "--particle", "3", "--nside", "2", "--depth", "4"]
_TRUTH = ["--truth-star", "STACK/truth.star", "--truth-map", "STACK/truth.mrc"]
# each on a copy, since a resume changes the run
COMMANDS = {
    "posterior": [*_POSTERIOR],
    "an-epoch": [*_POSTERIOR, "--epoch", "2"],
    "survey": ["survey", "RUN", "--probes", "2"],
    "evaluate": ["evaluate", "RUN", *_TRUTH],
    "resume": ["reconstruct", "--out", "RUN", "--resume"],
}


# these take seconds, and read little
_LONG = {
    "survey": ("viewers-poses-binary", "viewers-volume-huge", "viewers-volume-large"),
    "evaluate": ("viewers-map-cut", "viewers-map-folder", "viewers-star-binary", "foreign-nothing"),
}
_QUICK = [name for name in COMMANDS if name not in _LONG]
# each kind with one of the commands here, with all of them in `make test-slow`
_HERE = {(kind, _QUICK[place % len(_QUICK)]) for place, kind in enumerate(KINDS)}
_HERE |= {(kind, command) for command, kinds in _LONG.items() for kind in kinds}
CASES = [
    pytest.param(
        kind,
        command,
        marks=() if (kind, command) in _HERE else pytest.mark.slow_campaign,
    )
    for kind in KINDS
    for command in COMMANDS
]


@pytest.mark.parametrize(("kind", "command"), CASES)
def test_it_works_or_says_why_not(
    kind: str, command: str, tiny_run: Path, tiny_stack: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    KINDS[kind](run)
    words = [
        word.replace("RUN", str(run)).replace("STACK", str(tiny_stack))
        for word in COMMANDS[command]
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code in (0, 2), result.exception
    assert "Traceback" not in result.output
    errors = [line for line in result.stderr.splitlines() if not line.startswith("Note: ")]
    if result.exit_code == 2:
        assert sum(line.startswith("Error: ") for line in errors) == 1
        assert errors[-1].startswith("Error: ")
        assert errors[-1].endswith((".", "?"))
