"""Following a run folder that another process, such as a cluster job, may still be writing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal, Slot

if TYPE_CHECKING:
    from pathlib import Path

INTERVAL_MS = 2000
# an epoch adds to the first; the end of a run writes the others
_FILES = ("metrics.csv", "map.mrc", "particles.star")


def last_written(folder: Path) -> float:
    """Return when a run folder last got something to show, as a time stamp; 0 for never."""
    return max(
        (path.stat().st_mtime for name in _FILES if (path := folder / name).exists()), default=0.0
    )


class RunFollower(QObject):
    """Tells, every two seconds, that the followed folder holds more than was seen of it.

    Attributes
    ----------
    seen
        Time stamp, as of :func:`last_written`, of what has been read.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.seen = 0.0
        self._folder: Path | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self._look)

    def follow(self, folder: Path) -> None:
        """Follow a folder from now on."""
        self._folder = folder
        self._timer.start()

    def stop(self) -> None:
        """Follow nothing."""
        self._timer.stop()

    @Slot()
    def _look(self) -> None:
        assert self._folder is not None
        if last_written(self._folder) != self.seen:
            self.changed.emit()
