"""Finding the image files that a table names, also where both were moved."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import printable
from napari_cryospin.engine.files import real

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OTHER_SUFFIX = {".mrcs": ".mrc", ".mrc": ".mrcs"}
# so many of the last parts of a name are tried at most
_MOST_PARTS = 12


def is_file(path: Path) -> bool:
    """Tell whether there is a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@dataclass
class StackFinder:
    """Finds image files by the names that stand in a table.

    A name is looked for in the folder that the user named (``datadir``), in the table's folder, in
    the folder of the file that the table is a link to, and in the folders above; then, in the first
    three, without its first folders, one after the other. A ``.mrcs`` may be a ``.mrc`` and the
    other way round. A file that would thus belong to two names is used for neither.

    Parameters
    ----------
    table
        The file of the table.
    datadir
        Folder that the user named, or None.
    """

    table: Path
    datadir: Path | None = None
    _folders: dict[str, list[Path | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        beside, target = self.table.absolute().parent, real(self.table).parent
        named = [] if self.datadir is None else [self.datadir.absolute()]
        self._near = list(dict.fromkeys((*named, beside, target)))
        self._as_named = (beside, target)
        self._above = list(dict.fromkeys((*beside.parents, *target.parents)))

    def find(self, names: Sequence[str]) -> tuple[tuple[Path, ...], list[str]]:
        """Return the files of names, and notes on those that are elsewhere than the table says.

        A file that is nowhere is returned as the place next to the table where it was expected.
        """
        found = [self._find(name) for name in names]
        count = Counter(found)
        stacks, moved, unclear = [], [], []
        for name, file in zip(names, found, strict=True):
            as_named = any(file == folder / name for folder in self._as_named)
            if file is not None and count[file] > 1 and not as_named:
                unclear.append(printable(f"{file} could be {name}, and another file of the table."))
                file = None
            if file is not None and not as_named:
                moved.append((name, file))
            stacks.append(file or self._as_named[0] / name)
        return tuple(stacks), [*_moved_note(moved), *unclear[:1]]

    def _find(self, name: str) -> Path | None:
        spellings = list(_spellings(name))
        folders = [self._folders_of(spelling.parent) for spelling in spellings]
        for here in zip(*folders, strict=True):
            for folder, spelling in zip(here, spellings, strict=True):
                place: Path | None = folder and folder / spelling.name
                if place is not None and is_file(place):
                    return place
        return None

    def _folders_of(self, parent: Path) -> list[Path | None]:
        """Return where files of a folder that the table names may be, best first; None for nowhere.

        A table may name thousands of stacks in a few folders, most of which do not exist.
        """
        known = self._folders.get(str(parent))
        if known is None:
            parts = parent.parts[1:] if parent.is_absolute() else parent.parts
            places = [folder / parent for folder in (*self._near, *self._above)]
            for first in range(max(0, len(parts) + 1 - _MOST_PARTS), len(parts) + 1):
                places += [folder.joinpath(*parts[first:]) for folder in self._near]
            known = [place if _is_folder(place) else None for place in places]
            self._folders[str(parent)] = known
        return known


def missing_sentence(table: Path, missing: Sequence[Path]) -> str:
    """Return a sentence about image files that were not found; there is at least one."""
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return printable(
        f"{table}: the image file {missing[0]}{more} was not found, nor in any folder above "
        f"{table.absolute().parent}; name the folder that holds the images (--datadir, or Images "
        "in, in the dock)."
    )


def _spellings(name: str) -> Iterator[Path]:
    """Yield a name as it stands, with the other suffix, and as the Latin-1 it may have been."""
    paths = [Path(name)]
    if not name.isascii():
        try:
            paths.append(Path(os.fsdecode(name.encode("latin-1"))))
        except UnicodeError:
            pass
    for path in paths:
        yield path
        if path.suffix in _OTHER_SUFFIX:
            yield path.with_suffix(_OTHER_SUFFIX[path.suffix])


def _moved_note(moved: list[tuple[str, Path]]) -> list[str]:
    if not moved:
        return []
    name, file = moved[0]
    more = f" (and {len(moved) - 1} more from elsewhere than named)" if len(moved) > 1 else ""
    return [printable(f"The images of {name} are read from {file}{more}.")]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
