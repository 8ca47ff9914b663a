"""Reading a run folder that may be damaged: nothing odd is opened, nothing large is read whole."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from napari_cryospin.engine.failures import out_of_memory
from napari_cryospin.engine.runfolder import names

if TYPE_CHECKING:
    from pathlib import Path


class Unreadable(Exception):
    """Why a file cannot be read, as the end of a sentence that begins with its name."""


def require_file(path: Path) -> int:
    """Return the size of a regular file, bytes; a link to one will do.

    Raises
    ------
    FileNotFoundError
        If there is nothing of that name.
    Unreadable
        If it is a folder, a pipe, or may not be looked at.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise Unreadable("is a link that leads nowhere") from None
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(str(path)) from error
    except (OSError, ValueError) as error:
        raise Unreadable(f"cannot be read ({reason(error)})") from error
    if stat.S_ISDIR(found.st_mode):
        raise Unreadable("is a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable("is no ordinary file")
    return found.st_size


def read_small(path: Path, most: int) -> str:
    """Return the text of a file of at most so many bytes; what is no UTF-8 is replaced.

    Raises
    ------
    FileNotFoundError
        If there is none.
    Unreadable
        If it is no file, too large, or cannot be read.
    """
    size = require_file(path)
    if size > most:
        raise Unreadable(f"is damaged: it is far too large ({size / 2**20:.0f} MiB)")
    try:
        # the bound again: the file may grow while it is read
        with path.open("rb") as file:
            return file.read(most).decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"cannot be read ({reason(error)})") from error


def reason(error: BaseException) -> str:
    """Return why something could not be read, in a few words on one line; memory is no such reason.

    Raises
    ------
    BaseException
        The error itself, where memory ran out: the file is not to blame.
    """
    if out_of_memory(error) is not None:
        raise error
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((words or type(error).__name__).split()).rstrip(".")


def numbered(folder: Path, part: str) -> list[tuple[int, Path]]:
    """Return number and path of the epochs' files in a part of a run folder, ascending.

    Files of other names, and folders, are none of ours. No folder has none.

    Parameters
    ----------
    folder
        The run folder.
    part
        One of :data:`~.names.PARTS`, such as ``volumes``.
    """
    place = folder / part
    try:
        entries = list(os.scandir(place))
    except OSError:
        return []
    found = [
        (epoch, place / entry.name)
        for entry in entries
        if (epoch := names.epoch_of(entry.name, names.PARTS[part])) is not None and _is_file(entry)
    ]
    return sorted(found)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
