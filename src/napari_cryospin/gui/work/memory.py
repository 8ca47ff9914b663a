"""Keeping the process small, where the C library keeps what is freed (glibc)."""

from __future__ import annotations

import ctypes
import sys

# of glibc's mallopt
_M_ARENA_MAX = -8
_ARENAS = 4


def share_arenas() -> None:
    """Let threads share few arenas, from which they get their memory: before a run starts any.

    By default there are eight for each core. Every run has threads of its own, and leaves what it
    needed in other arenas than the run before, in pieces.
    """
    if sys.platform == "linux":
        option = getattr(ctypes.CDLL(None), "mallopt", None)
        if option is not None:
            option(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Give freed memory back to the system.

    Without this the process keeps what a run needed, and a little more after each.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
