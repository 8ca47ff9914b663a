"""Waiting for a window, in the scripts that take its picture."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qtpy.QtCore import QEventLoop, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable


def wait(milliseconds: int) -> None:
    """Let the event loop run for a while."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def until(true: Callable[[], bool]) -> None:
    """Wait for something, for ten minutes at most."""
    for _ in range(6000):
        if true():
            return
        wait(100)
    sys.exit("A view did not answer in time.")
