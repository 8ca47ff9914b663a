"""A reconstruction of one thread as a process of its own, and the processor time that it took."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from cases import COMMAND

if TYPE_CHECKING:
    from pathlib import Path


def begin(
    stack: Path, out: Path, *words: object, checkout: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a run of a stack with more words of the command line, in place of an earlier one.

    ``checkout`` holds the sources to use; by default those that are installed.
    """
    shutil.rmtree(out, ignore_errors=True)
    particles = stack / "particles.star"
    return started("reconstruct", particles, "--out", out, *words, checkout=checkout)


def started(*words: object, checkout: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a command of one thread; ``checkout`` as for :func:`begin`."""
    sources = {} if checkout is None else {"PYTHONPATH": str(checkout / "src")}
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        env={**os.environ, **sources, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def seconds_of(process: subprocess.Popen[bytes]) -> float:
    """Wait for a run, and return its processor time in seconds."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"The run {process.args} ended with {process.returncode}.")
    return usage.ru_utime + usage.ru_stime
