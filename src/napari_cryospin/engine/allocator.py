"""How the C library keeps and gives back memory that was freed (glibc)."""

from __future__ import annotations

import ctypes
import sys

# of glibc's mallopt
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_ARENAS = 4
# bytes of a block that is asked of the system and given back by itself, and of what is free at the
# end of the heap before that is given back
_BY_ITSELF, _KEPT = 256 * 2**20, 512 * 2**20


def share_arenas() -> None:
    """Let threads share few arenas, from which they get their memory: before a run starts any.

    By default there are eight for each core. Every run has threads of its own, and leaves what it
    needed in other arenas than the run before, in pieces.
    """
    _set(_M_ARENA_MAX, _ARENAS)


def keep_freed() -> None:
    """Keep the memory that a batch has freed for the next one.

    By default blocks beyond 32 MiB come from the system, page by page and each page cleared, for
    every batch anew: a fifth of the time of a run.
    """
    # the C libraries of older systems take no such block, and are left as they are
    if _set(_M_MMAP_THRESHOLD, _BY_ITSELF):
        _set(_M_TRIM_THRESHOLD, _KEPT)


def give_back() -> None:
    """Give freed memory back to the system.

    Without this the process keeps what a run needed, and a little more after each.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _set(option: int, value: int) -> bool:
    """Set an option of the C library's allocator; return whether it was taken."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(option, value))
