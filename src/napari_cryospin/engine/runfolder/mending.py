"""Making a run folder fit to be written again: what only viewers need never stops a resume."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.metrics import read_metrics, write_metrics
from napari_cryospin.engine.runfolder.reading import Unreadable, require_file

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.runfolder.folder import RunFolder


def mend(folder: RunFolder) -> tuple[str, ...]:
    """Set aside what stands in the way of a run that goes on, and return a note on each.

    Nothing is deleted: a damaged ``metrics.csv`` is renamed, and its whole rows are kept in a new
    one; so is a folder or a link where a file is to be written, or a file where a folder belongs.
    A missing folder is made again.

    Raises
    ------
    OSError
        If the run folder cannot be written.
    """
    notes = []
    for name in names.PARTS:
        part = folder.path / name
        if not part.is_dir():
            if os.path.lexists(part):
                notes.append(_set_aside(part))
            part.mkdir()
        # a folder that has the name of a file of ours; links are replaced, not followed
        notes += [_set_aside(path) for path in part.glob(f"{names.OF_AN_EPOCH}.*") if path.is_dir()]
    for path in folder.path.iterdir():
        written = path.suffix in (".mrc", ".star", ".csv", ".json") and path != folder.metrics_path
        if written and path.is_dir() and not path.is_symlink():
            notes.append(_set_aside(path))
    notes += _mend_metrics(folder.metrics_path)
    notes += _mend_events(folder.events_path)
    return tuple(notes)


def _mend_metrics(path: Path) -> list[str]:
    found = read_metrics(path)
    if not found.notes:
        return []
    aside = _set_aside(path)
    if found.rows:
        write_metrics(path, found.rows)
    return [*found.notes, aside]


def _mend_events(path: Path) -> list[str]:
    """Set aside what is no log: lines are appended, and would be to wherever a link leads."""
    try:
        require_file(path)
    except FileNotFoundError:
        return []
    except Unreadable:
        return [_set_aside(path)]
    return [_set_aside(path)] if path.is_symlink() else []


def _set_aside(path: Path) -> str:
    """Rename something to a free name, and return a note."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    path.rename(aside)
    return f"{path} could not be used by the run: it is {aside.name} now."
