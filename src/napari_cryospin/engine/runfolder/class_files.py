"""The maps of several classes on disk: which file holds which."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder import names

if TYPE_CHECKING:
    from pathlib import Path

_NUMBER = re.compile(r"_class([0-9]{1,2})\.mrc$")


def of_class(path: Path, number: int) -> Path:
    """Return the path of a class's map, from 1, beside another map: ``map_class2.mrc``."""
    return path.with_name(f"{path.stem}_class{number}{path.suffix}")


def map_of_class(path: Path, number: int) -> Path:
    """Return the path of a class's map, from 1, where a map of a run of several is one of them.

    ``map.mrc`` is a copy of the largest class's, the map of an epoch is class 1's own.
    """
    return path if number == 1 and path.name != names.MAP else of_class(path, number)


def require_class(number: int, there: int) -> None:
    """Refuse a class, from 1, that a run of so many classes has not.

    Raises
    ------
    InputError
        If there is no such class.
    """
    if not 1 <= number <= there:
        has = f"classes 1 to {there}" if there > 1 else "one class"
        raise InputError(f"There is no class {number}: the run has {has}.")


def class_number(path: Path) -> int | None:
    """Return the class, from 1, that the name of a map tells; None where it tells none."""
    match = _NUMBER.search(path.name)
    return None if match is None else int(match[1])


def further_classes(path: Path) -> list[Path]:
    """Return the files of classes beside a map, in the order of their numbers."""
    found = [
        (int(match[1]), each)
        for each in path.parent.glob(f"{path.stem}_class*{path.suffix}")
        if (match := _NUMBER.search(each.name))
    ]
    return [each for _, each in sorted(found)]


def maps_of_classes(path: Path) -> list[Path]:
    """Return the maps of all classes where a map of a run is one of them, or the map alone.

    ``map.mrc`` is that of the largest class, and all are beside it; the map of an epoch is that of
    class 1, and the others are beside it.
    """
    further = further_classes(path)
    if path.name == names.MAP:
        return further or [path]
    return [path, *further]
