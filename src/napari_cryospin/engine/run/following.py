"""Following a run that another process writes, from before its first epoch to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.fingerprint import other_particles
from napari_cryospin.engine.run.homes import look_at
from napari_cryospin.engine.run.snapshot import Snapshot, read_snapshot
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.lock import writer_of
from napari_cryospin.engine.runfolder.records import recorded_epochs
from napari_cryospin.engine.runfolder.standing import Doing, Standing, read_standing

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings

# seconds for which settings are waited for that another process is about to write
_BEGINNING = 5.0
_LOOK = 0.1

Stamp = tuple[int, ...]


@dataclass(frozen=True)
class Seen:
    """What was seen of a run folder.

    Parameters
    ----------
    folder
        The run folder.
    settings, particles
        Settings of the run, and its particles.
    snapshot
        Its epochs, the last map and poses; None before its first epoch has ended.
    standing
        How far it is, and whether a process writes it.
    stamp
        When its files were written, as far as they were read.
    """

    folder: Path
    settings: Settings
    particles: Particles
    snapshot: Snapshot | None
    standing: Standing
    stamp: Stamp


def look(folder: Path, before: Seen | None = None) -> Seen:
    """Look at a run folder; what has not changed since it was looked at before is not read again.

    Raises
    ------
    InputError
        If the folder holds no run, its particles have gone, or, where nobody writes it, its maps or
        poses cannot be read.
    """
    run = RunFolder(folder)
    # first, so that what is written in the meantime is seen when it is looked at again
    stamp = _stamp(run)
    if before is not None and stamp == before.stamp:
        standing = _standing(run, before.settings, before.snapshot)
        # who has ended may have written its last files since the stamp was taken
        if standing.doing is before.standing.doing:
            return replace(before, standing=standing)
    settings = _settings(run)
    if settings.data.stack is None:
        raise InputError(f"{run.settings_path} names no particle stack.")
    others = None
    if before is not None and before.settings.data == settings.data:
        particles = before.particles
    else:
        particles = look_at(settings.data)
        others = other_particles(run.fingerprint_path, particles)
    try:
        snapshot = read_snapshot(run, particles) if _has_epochs(run) else None
    except InputError as error:
        written = writer_of(folder) is not None
        if before is None and not written:
            raise
        snapshot = None if before is None else before.snapshot
        if written:
            # in the midst of it: soon it is looked at again
            stamp = ()
        elif snapshot is not None:
            snapshot = replace(snapshot, notes=(str(error),))
    if snapshot is not None and others is not None:
        snapshot = replace(snapshot, notes=(*snapshot.notes, others))
    standing = _standing(run, settings, snapshot)
    if standing.doing is not Doing.WRITTEN and stamp != _stamp(run):
        # its end was written while it was read: nobody writes any more, and all can be seen
        return look(folder, before)
    return Seen(folder, settings, particles, snapshot, standing, stamp)


def _has_epochs(run: RunFolder) -> bool:
    """Whether the map and the poses of an epoch have been written."""
    return bool(run.maps()) and bool(run.checkpoints() or recorded_epochs(run))


def _standing(run: RunFolder, settings: Settings, snapshot: Snapshot | None) -> Standing:
    return read_standing(run, settings, () if snapshot is None else snapshot.history)


def _settings(run: RunFolder) -> Settings:
    """Return the settings of a run; those of one that is just being begun are waited for."""
    end = time.monotonic() + _BEGINNING
    while not run.settings_path.exists() and writer_of(run.path) and time.monotonic() < end:
        time.sleep(_LOOK)
    return run.settings()


def _stamp(run: RunFolder) -> Stamp:
    """Return when the files that tell of a run's progress were written."""
    paths = (run.settings_path, run.metrics_path, run.map_path, run.verdict_path)
    # the last that is written of an epoch
    return tuple(map(_written, (*paths, *run.checkpoints()[-1:])))


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        # none yet, or the folder has gone
        return 0
