"""Opening run folders, and looking again and again at the one that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal, Slot

from napari_cryospin.gui.work.background import Background

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.run.following import Seen

INTERVAL_MS = 2000


def look(folder: Path, before: Seen | None) -> Seen:
    """Look at a run folder; the engine is imported here, off the main thread."""
    from napari_cryospin.engine.run import following

    return following.look(folder, before)


class Follower(QObject):
    """Reads a run folder in the background, and again where another process has written into it.

    Attributes
    ----------
    opened
        Emitted with what was first seen of a folder that was asked for.
    looked
        Emitted with what was seen of it later.
    failed
        Emitted with a sentence on why a folder cannot be read.
    """

    opened = Signal(object)
    looked = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._seen: Seen | None = None
        self._looking, self._said = False, ""
        self._opener = Background(self)
        self._opener.done.connect(self._on_opened)
        self._opener.failed.connect(self.failed)
        # of its own: looking again must not drop what the user asked for
        self._looker = Background(self)
        self._looker.done.connect(self._on_looked)
        self._looker.failed.connect(self._on_look_failed)
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self._look_again)

    def open(self, folder: Path) -> None:
        """Read a run folder; one that was asked for before is not waited for any more."""
        self._opener.submit(lambda: look(folder, None))

    def drop(self) -> None:
        """Wait for no folder that was asked for; the one that is shown is looked at as before."""
        self._opener.drop()

    def stop(self) -> None:
        """Look at no folder any more."""
        self._timer.stop()
        self._opener.drop()
        self._looker.drop()
        self._seen, self._looking = None, False

    @Slot(object)
    def _on_opened(self, seen: Seen) -> None:
        self.stop()
        self._seen, self._said = seen, ""
        self._timer.start()
        self.opened.emit(seen)

    @Slot()
    def _look_again(self) -> None:
        seen = self._seen
        # an answer that takes long must not be dropped for the next
        if seen is None or self._looking:
            return
        self._looking = True
        self._looker.submit(lambda: look(seen.folder, seen))

    @Slot(object)
    def _on_looked(self, seen: Seen) -> None:
        self._seen, self._looking, self._said = seen, False, ""
        self.looked.emit(seen)

    @Slot(str)
    def _on_look_failed(self, sentence: str) -> None:
        self._looking = False
        # it is looked at again, and said once
        if sentence != self._said:
            self._said = sentence
            self.failed.emit(sentence)
