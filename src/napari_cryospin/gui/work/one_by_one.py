"""Work that takes long in pieces: between two of them the window is drawn and the user is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import QObject

# between two pieces: enough for the window to be drawn
BEAT_MS = 50


class OneByOne(QTimer):
    """Does pieces of work one after the other, each in a turn of the event loop of its own.

    Parameters
    ----------
    owner
        With it ends what is still to be done.
    first_ms
        How long the first piece waits where there is none before it.
    """

    def __init__(self, owner: QObject | None, first_ms: int = BEAT_MS) -> None:
        super().__init__(owner)
        self._first_ms = first_ms
        self._pieces: list[Callable[[], None]] = []
        self.setSingleShot(True)
        self.timeout.connect(self._do_next)

    def add(self, piece: Callable[[], None]) -> None:
        """Do a piece of work after all others; one that waits already is not done twice."""
        self._put(len(self._pieces), piece)

    def add_next(self, piece: Callable[[], None]) -> None:
        """Do a piece of work before all others."""
        self._put(0, piece)

    def forget(self) -> None:
        """Leave undone what is still to be done."""
        self._pieces.clear()
        self.stop()

    def _put(self, place: int, piece: Callable[[], None]) -> None:
        if piece not in self._pieces:
            self._pieces.insert(place, piece)
        if not self.isActive():
            self.start(self._first_ms)

    @Slot()
    def _do_next(self) -> None:
        if self._pieces:
            piece = self._pieces.pop(0)
            # also where the piece fails
            self.start(BEAT_MS)
            piece()
