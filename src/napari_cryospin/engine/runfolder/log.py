"""``events.jsonl``: the figures of every event of a run, appended as they happen."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_cryospin.engine.half_resolution import HalfResolution
from napari_cryospin.engine.runfolder.verdict import Verdict
from napari_cryospin.engine.switch_figures import SwitchFigures

if TYPE_CHECKING:
    from napari_cryospin.engine.events import Event

# an event is no longer than this
_TAIL = 1 << 20


def append_event(path: Path, event: Event) -> None:
    """Append an event's figures to a log (arrays and what its repr leaves out are not written).

    Raises
    ------
    OSError
        If the log cannot be written; it names ``path``.
    """
    plain = {
        field.name: value
        for field in fields(event)
        if field.repr and not isinstance(value := getattr(event, field.name), np.ndarray)
    }
    line = json.dumps({"event": type(event).__name__, **plain}, default=_plain)
    try:
        with path.open("ab+") as file:
            _mend(file)
            file.write((line + "\n").encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def last_event(path: Path) -> dict[str, Any] | None:
    """Return the figures of the last event in a log; None where none can be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            last = json.loads(file.read().splitlines()[-1])
    except (OSError, ValueError, IndexError, RecursionError):
        return None
    return last if isinstance(last, dict) else None


def log_until(path: Path, epoch: int) -> bytes:
    """Return the lines of a log up to the last end of an epoch (from 0); none where it has none.

    The log may be one that is being written.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError:
        return b""
    for number in reversed(range(len(lines))):
        if b'"EpochDone"' in lines[number] and _is_end(lines[number], epoch):
            return b"\n".join(lines[: number + 1]) + b"\n"
    return b""


def _is_end(line: bytes, epoch: int) -> bool:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(event, dict)
        and event.get("event") == "EpochDone"
        and event.get("epoch") == epoch
    )


def _mend(file: BinaryIO) -> None:
    """Cut off half a line that a killed process left at the end of a file."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    start = max(0, end - _TAIL)
    file.seek(start)
    whole = file.read().rfind(b"\n") + 1
    # a line that is longer than all that is looked at is no event
    if whole or start == 0:
        file.truncate(start + whole)
    else:
        file.write(b"\n")


def _plain(value: object) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Verdict):
        return value.figures()
    if isinstance(value, SwitchFigures | HalfResolution):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong into the log of events")
