"""Ctrl-C in a terminal: once stops and keeps the run, twice aborts."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.run.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")

# the second signal comes as soon as the first has been answered, within one batch
ABORT = """
import os, signal, sys
from napari_cryospin.cli import main
from napari_cryospin.engine.run.controls import Controls

def stop(controls, *, keep):
    os.kill(os.getpid(), signal.SIGINT)

Controls.stop = stop
main()
"""


def start(stack: Path, out: Path, program: list[str]) -> subprocess.Popen[str]:
    arguments = ["reconstruct", stack / "particles.star", "--out", out, "--preset", "quick"]
    options = ["--epochs-encode", "500", "--threads", "1"]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments), *options],
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupt_after_an_epoch(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch"):
            process.send_signal(signal.SIGINT)
            break
    return process.communicate(timeout=180)[1]


def test_once_stops_and_keeps(small_stack: Path, tmp_path: Path) -> None:
    program = ["-c", "from napari_cryospin.cli import main; main()"]
    with start(small_stack, tmp_path / "run", program) as process:
        told = interrupt_after_an_epoch(process)
    assert process.returncode == 0, told
    assert "Stopping" in told
    run = RunFolder(tmp_path / "run")
    assert run.map_path.is_file()
    assert len(run.metrics()) < 500


def test_twice_aborts(small_stack: Path, tmp_path: Path) -> None:
    with start(small_stack, tmp_path / "run", ["-c", ABORT]) as process:
        told = interrupt_after_an_epoch(process)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert not RunFolder(tmp_path / "run").map_path.exists()
