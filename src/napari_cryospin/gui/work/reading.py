"""What the session reads in the background: particle tables and run folders.

The engine is imported when it is first needed, since it imports torch: off the main thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.run.snapshot import Snapshot


def read_table(path: Path, passthrough: Path | None, datadir: Path | None) -> ParticleTable:
    """Return the particle table in a file; its images are looked for in ``datadir`` first."""
    from napari_cryospin.engine.data.given import Given
    from napari_cryospin.engine.data.load import open_particles

    return open_particles(path, passthrough=passthrough, given=Given(datadir=datadir))


def read_run(folder: Path, stack: WorkingStack | None) -> tuple[Snapshot, float]:
    """Return what a run folder holds, and its :func:`last_written` before it was read.

    Its particles are read only where they are not known yet.
    """
    from napari_cryospin.engine.run.folder import RunFolder
    from napari_cryospin.engine.run.snapshot import read_snapshot

    # an epoch that is added in the meantime is seen when it is looked at again
    written = last_written(folder)
    return read_snapshot(RunFolder(folder), stack), written


def last_written(folder: Path) -> float:
    """Return when an epoch was last added to a run folder, as a time stamp; 0 where none was."""
    try:
        return (folder / "metrics.csv").stat().st_mtime
    except OSError:
        # none yet, or the folder has gone
        return 0.0
