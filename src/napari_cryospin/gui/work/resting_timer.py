"""A timer for work that must take a small share of the time, however slow the machine is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Slot

if TYPE_CHECKING:
    from qtpy.QtCore import QObject

# Qt gathers what is to be drawn for some milliseconds before it draws
_UNTIL_DRAWN_MS = 15


class RestingTimer(QTimer):
    """A timer whose interval grows with the time that the work took.

    Parameters
    ----------
    least_ms
        Shortest interval, and the first one.
    rest
        The interval is this many times as long as the last work took.
    parent
        Owner.
    most_ms
        Longest interval: once slow, as the first drawing of a window is, is not slow for ever.
    """

    def __init__(
        self, least_ms: int, rest: int, parent: QObject, most_ms: int | None = None
    ) -> None:
        super().__init__(parent)
        self._least_ms, self._rest, self._most_ms = least_ms, rest, most_ms
        self.setInterval(least_ms)
        # fires once the event loop has drawn; a child, so that it ends with this
        self._drawn, self._since = QTimer(self), 0.0
        self._drawn.setSingleShot(True)
        self._drawn.setInterval(_UNTIL_DRAWN_MS)
        self._drawn.timeout.connect(self._on_drawn)

    def draws(self) -> None:
        """Choose the next interval when all has been drawn that is asked for from now on."""
        self._since = time.perf_counter()
        self._drawn.start()

    @Slot()
    def _on_drawn(self) -> None:
        self.worked(max(time.perf_counter() - self._since - _UNTIL_DRAWN_MS / 1000, 0))

    def worked(self, seconds: float) -> None:
        """Choose the next interval: the work took so many seconds."""
        wanted = max(self._least_ms, int(1000 * self._rest * seconds))
        self.setInterval(wanted if self._most_ms is None else min(wanted, self._most_ms))
