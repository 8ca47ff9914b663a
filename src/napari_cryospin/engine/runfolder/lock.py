"""One writer for a run folder: the file ``lock``, which no dead process can keep."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.failures import why
from napari_cryospin.engine.runfolder import names

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows: the file and its signs of life must do)
    fcntl = None  # type: ignore[assignment]

# seconds between signs of life, and without one until a lock of another host is taken over
_HEARTBEAT, _STALE = 20.0, 180.0
_MOST_BYTES = 4096
_HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@dataclass(frozen=True)
class Owner:
    """The process that a lock names.

    Parameters
    ----------
    pid, host
        Its number, and the name of its host.
    started
        When it was started, as its system counts; empty where that is not known.
    token
        Random: tells two locks of one process apart.
    """

    pid: int
    host: str
    started: str
    token: str

    @classmethod
    def present(cls) -> Self:
        """Return this process, with a new token."""
        pid = os.getpid()
        return cls(pid, socket.gethostname(), _start_of(pid), secrets.token_hex(16))

    @property
    def here(self) -> bool:
        """Whether it was a process of this host."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether a process of this host still runs, and is the same one."""
        if os.name == "nt":  # pragma: no cover (a signal 0 would end it there)
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # another user's
        except OverflowError:
            return False
        return not self.started or _start_of(self.pid) == self.started


class RunLock:
    """A held lock; made by :meth:`acquire`.

    While it is held the file carries a lock of the system (flock), which ends with the process, and
    a thread gives signs of life for other hosts. Where the file system knows no flock, the process
    that the file names decides, and a lock is taken over through a hard link, which only one can
    make.
    """

    def __init__(self, path: Path, owner: Owner, descriptor: int | None) -> None:
        self.path, self.owner = path, owner
        self._descriptor = descriptor
        self._released = threading.Event()
        threading.Thread(target=self._live, name="run-lock", daemon=True).start()

    @classmethod
    def acquire(cls, folder: Path) -> Self:
        """Take the lock of a run folder, which must exist.

        Raises
        ------
        InputError
            If another process writes the run, or the file cannot be made.
        """
        path, owner = folder / names.LOCK, Owner.present()
        try:
            descriptor = _taken(path, owner)
        except OSError as error:
            raise InputError(f"The run folder {folder} cannot be written: {why(error)}.") from error
        return cls(path, owner, descriptor)

    def require_held(self) -> None:
        """Raise InputError where another process has taken the run over."""
        found = read_owner(self.path)
        if found is not None and found.token != self.owner.token:
            raise InputError(
                f"The run in {self.path.parent} has been taken over by process {found.pid} on "
                f"{found.host}: this one has ended."
            )

    def release(self) -> None:
        """Give the lock back; nothing happens the second time."""
        if self._released.is_set():
            return
        self._released.set()
        found = read_owner(self.path)
        if found is not None and found.token == self.owner.token:
            with contextlib.suppress(OSError):
                self.path.unlink()
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _live(self) -> None:
        while not self._released.wait(_HEARTBEAT):
            # a folder that has vanished is told where the run is written
            with contextlib.suppress(OSError):
                os.utime(self.path)


def read_owner(path: Path) -> Owner | None:
    """Return whom a lock names; None where there is no lock, or none that says so."""
    try:
        # a pipe would be waited for
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return _owner(file.read(_MOST_BYTES))
    except OSError:
        return None


def writer_of(folder: Path) -> Owner | None:
    """Return the process that writes a run folder, or None where none does.

    The lock is not touched: who wants to write may take it at the same time. A process of another
    host counts as long as it gives signs of life.
    """
    path = folder / names.LOCK
    owner = read_owner(path)
    if owner is None:
        return None
    if owner.here:
        return owner if owner.alive else None
    try:
        return owner if _seconds_since_change(path) < _STALE else None
    except OSError:
        # released in the meantime
        return None


def is_lock(path: Path) -> bool:
    """Return whether a file is a lock of a run: one that names its owner, or is still empty."""
    try:
        return not path.is_symlink() and (path.stat().st_size == 0 or read_owner(path) is not None)
    except OSError:
        return False


def is_claim(path: Path) -> bool:
    """Return whether a file is one that a process left as it took a lock without flock."""
    return path.name.startswith(f".{names.LOCK}.") and path.suffix == ".claim"


def _owner(content: bytes) -> Owner | None:
    try:
        owner = Owner(**json.loads(content))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (owner.host, owner.started, owner.token)
    known = type(owner.pid) is int and owner.pid > 0 and all(type(text) is str for text in texts)
    return owner if known else None


def _taken(path: Path, owner: Owner) -> int | None:
    """Take a lock; return the open file that holds it, None without flock."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        descriptor = os.open(path, flags, 0o666)
        kept = False
        try:
            if not _flocked(descriptor, path):
                if _taken_by_link(path, owner):
                    return None
                continue
            # its owner may have ended, and removed the file, since it was opened
            if not _is_at(descriptor, path):
                continue
            _require_no_other_host(_owner(os.pread(descriptor, _MOST_BYTES, 0)), path)
            content = _content(owner)
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
            os.utime(path)
            kept = True
            return descriptor
        finally:
            if not kept:
                os.close(descriptor)


def _flocked(descriptor: int, path: Path) -> bool:
    """Lock an open file for the system; return False where the file system cannot."""
    if fcntl is None:  # pragma: no cover (Windows)
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD_BY_ANOTHER:
            raise InputError(_held(path, read_owner(path))) from error
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _taken_by_link(path: Path, owner: Owner) -> bool:
    """Take a lock without flock: over from an owner that is dead, or a new one.

    Returns False where the file has been removed in the meantime.
    """
    found = read_owner(path)
    if found is not None:
        if found.here and found.alive:
            raise InputError(_held(path, found))
        _require_no_other_host(found, path)
    # only one process can make this link: the name is that of the dead owner's lock
    claim = path.with_name(f".{names.LOCK}.{found.token if found else 'new'}.claim")
    temporary = path.with_name(f".{names.LOCK}.{owner.token}.claim")
    try:
        os.link(path, claim)
    except FileExistsError as error:
        raise InputError(_held(path, found)) from error
    except FileNotFoundError:
        return False
    try:
        if read_owner(claim) != found:
            # it was taken over before the link was made
            raise InputError(_held(path, read_owner(path)))
        temporary.write_bytes(_content(owner))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        claim.unlink()
    return True


def _require_no_other_host(owner: Owner | None, path: Path) -> None:
    if owner is None or owner.here:
        return
    silent = _seconds_since_change(path)
    if silent < _STALE:
        raise InputError(
            f"{path.parent} is being written by process {owner.pid} on {owner.host}, which gave a "
            f"sign of life {max(silent, 0):.0f} s ago: wait for its end; if it was killed, try "
            f"again in {_STALE / 60:.0f} minutes, or delete {path}."
        )


def _seconds_since_change(path: Path) -> float:
    """Return how long ago a file was changed, by the clock of its file system."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            now = os.fstat(file.fileno()).st_mtime
    except OSError:
        now = time.time()
    return now - path.stat().st_mtime


def _held(path: Path, owner: Owner | None) -> str:
    by = "another process" if owner is None else f"process {owner.pid} on {owner.host}"
    return (
        f"{path.parent} is being written by {by}: wait for its end or stop it, or choose another "
        "folder."
    )


def _content(owner: Owner) -> bytes:
    return (json.dumps(asdict(owner)) + "\n").encode()


def _start_of(pid: int) -> str:
    """Return when a process was started, in the system's own count; empty where it is not told.

    One that has ended, and whose parent has not asked how, was started no more.
    """
    try:
        # the name of the program, in brackets, may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""
