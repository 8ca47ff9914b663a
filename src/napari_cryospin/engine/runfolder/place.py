"""Where a run may be written: what a folder holds already, and what may be cleared there."""

from __future__ import annotations

import contextlib
import json
import os
from enum import Enum
from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import is_left_over, real, require_absent
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.class_files import further_classes
from napari_cryospin.engine.runfolder.fingerprint import Fingerprint
from napari_cryospin.engine.runfolder.lock import is_claim, is_lock
from napari_cryospin.engine.runfolder.reading import numbered
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# folders within a run's
_FOLDERS = (*names.PARTS, names.ENCODER)
_ELSEWHERE = "choose another folder"


class Holds(Enum):
    """What a folder holds of a run."""

    NOTHING = "nothing"
    # killed before its first checkpoint
    BEGINNING = "beginning"
    RUN = "run"
    FOREIGN = "foreign"


def what_is_in(folder: Path) -> Holds:
    """Return what a folder holds of a run; FOREIGN where a run would replace another's file."""
    found = _written(folder)
    present = {path.name for path in found}
    if not present:
        return Holds.NOTHING
    settled = _are_settings(folder / names.SETTINGS)
    checkpoints = (folder / names.CHECKPOINTS).glob(names.IN_PARTS[names.CHECKPOINTS])
    if settled and any(checkpoints):
        return Holds.RUN
    ours = is_lock(folder / names.LOCK) or _is_fingerprint(folder / names.FINGERPRINT)
    # the settings come last in the making of a folder
    begun = settled or present <= {names.LOCK, names.FINGERPRINT, names.COMMANDS}
    if not ours or not begun or any(map(_is_result, found)):
        return Holds.FOREIGN
    return Holds.BEGINNING


def has_results(folder: Path) -> bool:
    """Return whether all results of a run are there."""
    return all((folder / name).is_file() for name in names.RESULTS)


def require_free(folder: Path) -> None:
    """Raise InputError where a new run would replace a file: another run's, or any other.

    A run that was killed before its first checkpoint is no such place: it is begun again.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: {_ELSEWHERE}.")
    held = what_is_in(folder)
    if held is Holds.RUN or (held is Holds.FOREIGN and _are_settings(folder / names.SETTINGS)):
        raise InputError(f"{folder} holds a run already: {_ELSEWHERE}, or resume it.")
    if held is Holds.FOREIGN:
        require_absent(_written(folder), _ELSEWHERE)


def require_kept(folder: Path, inputs: Iterable[Path | None]) -> None:
    """Raise InputError where the results of a run would replace one of its own inputs."""
    for path in inputs:
        # a link to the folder, or a link elsewhere to a file in it
        places = () if path is None else (real(path.parent) / path.name, real(path))
        if any(place.parent == real(folder) and _is_result(place) for place in places):
            raise InputError(
                f"{path} is read by the run and would be replaced by its results: move it out "
                f"of {folder}."
            )


def is_written_by_a_run(path: Path) -> bool:
    """Return whether a file has a name that a run writes, in its folder or one of its parts."""
    pattern = names.IN_PARTS.get(path.parent.name)
    if pattern is not None and path.match(pattern):
        return True
    if path.parent.name == names.ENCODER and path.name in names.IN_ENCODER:
        return True
    return path.name in (*names.BEGINNING, *names.PARTS, names.LOCK) or _is_result(path)


def clear_beginning(folder: Path) -> None:
    """Remove what a run wrote before its first checkpoint; its lock stays."""
    for name in names.BEGINNING:
        (folder / name).unlink(missing_ok=True)
    for part, pattern in names.IN_PARTS.items():
        for path in (folder / part).glob(pattern):
            path.unlink()
        # another's file in it stays
        with contextlib.suppress(OSError):
            (folder / part).rmdir()


def clear_run(folder: Path) -> tuple[str, ...]:
    """Remove everything that a run wrote, and nothing else; only who holds the lock may.

    The lock stays. Returns the names of what cannot be removed.
    """
    files = (*names.BEGINNING, *names.RESULTS, names.FULL_SIZE_MAP)
    paths = [folder / name for name in files if os.path.lexists(folder / name)]
    for part in names.PARTS:
        paths += [path for _, path in numbered(folder, part)]
    maps = (*(folder / name for name in (names.MAP, *names.HALF_MAPS)), *paths)
    paths += [each for path in maps for each in further_classes(path)]
    paths += [folder / names.ENCODER / name for name in names.IN_ENCODER]
    paths += _left_over(folder)
    left = []
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            left.append(str(path.relative_to(folder)))
    for part in _FOLDERS:
        # another's file in it stays
        with contextlib.suppress(OSError):
            (folder / part).rmdir()
    return tuple(left)


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left; only who holds the lock may."""
    for path in _left_over(folder):
        path.unlink(missing_ok=True)


def _left_over(folder: Path) -> list[Path]:
    """Return the temporary files in a run folder."""
    places = (folder, *(folder / part for part in _FOLDERS))
    paths = [path for place in places if place.is_dir() for path in place.iterdir()]
    return [path for path in paths if (is_left_over(path) or is_claim(path)) and not path.is_dir()]


def _written(folder: Path) -> list[Path]:
    """Return what there is under the names that a run writes."""
    # by its name, for which a link to nowhere counts, too; looking for a pattern would pass over it
    fixed = (*names.BEGINNING, *_FOLDERS, *names.RESULTS, names.FULL_SIZE_MAP, names.LOCK)
    found = [folder / name for name in fixed if os.path.lexists(folder / name)]
    # in an empty folder there is nothing to replace
    found = [path for path in found if path.name not in _FOLDERS or not _is_empty(path)]
    more = [path for pattern in names.MORE_RESULTS for path in sorted(folder.glob(pattern))]
    return list(dict.fromkeys((*found, *more)))


def _is_result(path: Path) -> bool:
    return any(path.match(pattern) for pattern in (*names.RESULTS, *names.MORE_RESULTS))


def _is_empty(path: Path) -> bool:
    try:
        return path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    except OSError:
        return False


def _is_fingerprint(path: Path) -> bool:
    try:
        # a pipe would be waited for
        if not path.is_file():
            return False
        Fingerprint.from_figures(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, InputError):
        return False
    return True


def _are_settings(path: Path) -> bool:
    try:
        Settings.from_toml(path)
    except InputError:
        return False
    return True
