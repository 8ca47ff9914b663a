"""The command in a child of this process, with its writes counted and its locks noted.

Needs a system that can fork.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch._dynamo  # noqa: F401 (all that a run imports is imported before the forks)

from napari_cryospin.cli.app import app
from napari_cryospin.cli.run import follow  # noqa: F401
from napari_cryospin.engine.run.reconstruction import Reconstruction  # noqa: F401
from napari_cryospin.engine.runfolder import lock


def started(arguments: list[str], log: Path, die_at: int | None = None) -> int:
    """Start the command in a child of this process, where all is imported; return its number.

    Parameters
    ----------
    arguments
        Of the command.
    log
        What it prints goes here.
    die_at
        Step of a write at which it kills itself.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file, 1)
        os.dup2(file, 2)
        _count_writes(log.with_suffix(".writes"), die_at)
        _note_locks(log.parent / "locks")
        app(arguments, standalone_mode=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a child; return its exit code, minus the signal where one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _count_writes(note: Path, die_at: int | None) -> None:
    """Count the steps of writes, and die at one of them: before it is done, or after."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if die_at is None:
            note.write_text(str(done))

    def counted(work):
        def both(*args, **kwargs):
            step()
            result = work(*args, **kwargs)
            step()
            return result

        return both

    os.fsync = counted(os.fsync)
    Path.replace = counted(Path.replace)
    Path.unlink = counted(Path.unlink)
    Path.mkdir = counted(Path.mkdir)
    os.pwrite = counted(os.pwrite)


def _note_locks(note: Path) -> None:
    """Note when a lock is taken and given back, by a clock that all processes share."""
    taken, released = lock._taken, lock.RunLock.release

    def say(what: str) -> None:
        with note.open("a") as file:
            file.write(f"{time.monotonic_ns()} {os.getpid()} {what}\n")

    def take(*args):
        result = taken(*args)
        say("taken")
        return result

    def release(self) -> None:
        if not self._released.is_set():
            say("released")
        released(self)

    lock._taken, lock.RunLock.release = take, release


def most_writers(note: Path) -> int:
    """Return the most processes that held the lock at a time; a killed one ends with the next."""
    inside: set[str] = set()
    most = 0
    for _, pid, what in sorted(line.split() for line in note.read_text().splitlines()):
        if what == "released":
            inside.discard(pid)
            continue
        inside = {other for other in inside if not _was_killed(note, other)} | {pid}
        most = max(most, len(inside))
    return most


def _was_killed(note: Path, pid: str) -> bool:
    ends = [line for line in note.read_text().splitlines() if line.endswith(f" {pid} released")]
    return not ends
