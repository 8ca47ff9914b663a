"""Files that no save may replace: those that a run was made of, and those of run folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import real
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.place import is_written_by_a_run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.settings import Settings


def inputs_of(settings: Settings | None, table: ParticleTable | None) -> list[Path]:
    """Return the files that a run is made of: tables, image files, what is known of the truth."""
    found = [] if table is None else [table.source, *table.stacks]
    if settings is not None:
        data = settings.data
        named = (data.stack, data.passthrough, data.truth_star, data.truth_map)
        found += [path for path in named if path is not None]
    return found


def require_not_in_use(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Raise InputError where a file that is to be written is one of these, or one of a run's.

    Parameters
    ----------
    path
        The file that is to be written.
    inputs
        Files that a run is made of, as :func:`inputs_of` returns them.
    """
    target = real(path)
    if target in {real(other) for other in inputs}:
        raise InputError(f"{path} is what the run was made of: choose another name.")
    # a file of a run lies in its folder, or one below; what is not there yet may come
    if target.exists() or is_written_by_a_run(target):
        for folder in (target.parent, target.parent.parent):
            if (folder / names.SETTINGS).is_file():
                raise InputError(f"{path} belongs to the run in {folder}: choose another name.")
