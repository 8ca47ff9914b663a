"""Writing files so that a reader, or a crash, never meets half of one, and nothing is lost."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it is flushed and takes the place of ``path``.

    The temporary file lies in the same folder, is made new under a name that cannot be guessed (so
    that no link laid there is followed), and keeps the suffix, which some writers look at.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.writing{path.suffix}")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    try:
        os.close(os.open(temporary, flags, 0o666))
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
