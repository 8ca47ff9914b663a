"""The command as a user gives it, and what its tests ask of every answer."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from napari_cryospin.cli.app import app

EPOCHS = ["--epochs-encode", "1", "--epochs-decode", "1"]
SMALL = ["--preset", "quick", *EPOCHS, "--threads", "1"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def is_one_sentence(result: Result) -> bool:
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return len(lines) == 1 and "Traceback" not in result.stderr
