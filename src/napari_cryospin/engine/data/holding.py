"""Files in use, as other processes can see: a lock of the system, as long as one is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows)
    fcntl = None  # type: ignore[assignment]


def hold(file: int, *, alone: bool = False, wait: bool = False) -> bool:
    """Mark an open file as in use, as long as it is open; return whether that was possible.

    ``alone`` asks that nobody else uses it; ``wait`` waits until that is so.
    """
    if fcntl is None:  # pragma: no cover (Windows, which removes no file that is open)
        return True
    try:
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Return whether somebody holds a file alone; False where the system does not tell."""
    if fcntl is None:  # pragma: no cover (Windows)
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False
