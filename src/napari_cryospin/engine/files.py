"""Writing files so that a reader, or a crash, never meets half of one, and nothing is lost."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO


# as in replacing
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.writing(\..*)?")


class Sink:
    """A binary file for writers that lose the reason why they could not write.

    ``torch.save`` turns a full disk into a RuntimeError, and ``numpy.save`` into an OSError without
    a number. Here the first error is kept, what follows is dropped, and :meth:`settle` raises it.

    Parameters
    ----------
    file
        Where the bytes go.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: OSError | None = None

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write bytes, unless writing has failed; return their number."""
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is closed."""

    def settle(self) -> None:
        """Raise the error that writing met, if any."""
        if self._error is not None:
            raise self._error


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file that takes the place of ``path`` once it is whole, as ``replacing``.

    Raises
    ------
    OSError
        If the file cannot be written; it names ``path``.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        sink = Sink(file)
        try:
            yield cast("BinaryIO", sink)
        except Exception as error:
            # torch.save ends its file also when it is interrupted, and fails at that
            if (behind := _interruption(error)) is not None:
                raise behind from None
            raise
        sink.settle()


def _interruption(error: BaseException | None) -> BaseException | None:
    """Return what is no error, as Ctrl-C, in whose handling an error came up; None without."""
    while isinstance(error, Exception):
        error = error.__context__
    return error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it is flushed and takes the place of ``path``.

    The temporary file lies in the same folder, is made new under a name that cannot be guessed (so
    that no link laid there is followed), and keeps the suffix, which some writers look at.

    Raises
    ------
    OSError
        If the file cannot be written; it names ``path``, not the temporary file.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.writing{path.suffix}")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    try:
        os.close(os.open(temporary, flags, 0o666))
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary), temporary):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        # the folder may be read-only by now, or gone
        with suppress(OSError):
            temporary.unlink()


def linked(source: Path, path: Path) -> None:
    """Put a file at another path as well: a hard link, or a copy where the disk has no such links.

    What is at the path is replaced. The file must be one that is never written into.

    Raises
    ------
    OSError
        If there is no such file, or the other cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.writing{path.suffix}")
    try:
        os.link(source, temporary)
        # of two names of one file, which a link that is there already may be, none would go
        temporary.replace(path)
    except FileNotFoundError:
        raise
    except OSError:
        with replacing(path) as copy:
            shutil.copyfile(source, copy)
    finally:
        with suppress(OSError):
            temporary.unlink()


def real(path: Path) -> Path:
    """Return an absolute path with its links followed; a loop of links is left as it is."""
    return Path(os.path.realpath(path))


def is_left_over(path: Path) -> bool:
    """Return whether a file is a temporary one, as a process that is killed leaves it."""
    return _TEMPORARY.fullmatch(path.name) is not None


def require_absent(paths: Iterable[Path], remedy: str) -> None:
    """Raise InputError if one of these files is there already: nothing of a user's is replaced.

    Parameters
    ----------
    paths
        The files that are about to be made.
    remedy
        What to do, such as "choose another folder with --out".
    """
    for path in paths:
        if os.path.lexists(path):
            raise InputError(f"{path} is there already and would be replaced: {remedy}.")
