"""Garbage is collected on the main thread, where the objects of Qt live that may be in it.

Python looks for garbage in whichever thread makes the object that is one too many. What is left of
a closed window is garbage, timers and all; destroyed by a worker's thread it takes the program with
it. While threads of this package are there, a timer of the main thread looks for garbage instead.
"""

from __future__ import annotations

import gc
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtCore import QCoreApplication, QObject, QTimer, Slot

if TYPE_CHECKING:
    from collections.abc import Iterator

# what a part of a second of training leaves is looked through in a millisecond
_INTERVAL_MS = 250
# all that there is takes a part of a second, in which nothing goes on
_REST = 1000

_THREADS, _IMPORT = "threads of ours", "an import"


class _Pause:
    """Python collects nothing by itself as long as there is a reason.

    Not by ``gc.disable``: a decorator of dask's remembers whether that was so at its import, and
    leaves it so for ever.
    """

    def __init__(self) -> None:
        self._lock, self._reasons = threading.Lock(), set[str]()
        self.thresholds = gc.get_threshold()

    def add(self, reason: str) -> None:
        with self._lock:
            if not self._reasons:
                self.thresholds = gc.get_threshold()
                gc.set_threshold(0)
            self._reasons.add(reason)

    def remove(self, reason: str) -> None:
        with self._lock:
            if reason not in self._reasons:
                return
            self._reasons.remove(reason)
            if not self._reasons:
                gc.set_threshold(*self.thresholds)

    def only(self, reason: str) -> bool:
        """Whether this alone keeps Python from it, and nobody has switched it off."""
        return gc.isenabled() and self._reasons == {reason}


_pause = _Pause()


class Collector(QObject):
    """Collects what Python would, at the same thresholds, on the thread that it was made on.

    It does so from the event loop. PySide6 comes to a stop where an object of Qt is destroyed while
    it disconnects a signal, and Python, left to itself, may look for garbage then.
    """

    _only: ClassVar[Collector | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._next_full, self._leaves, self._quits = 0.0, False, False
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self.collect)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._on_quit)

    @classmethod
    def hold(cls) -> None:
        """From now on collect here, and on no other thread; call it on the main thread."""
        if cls._only is None:
            cls._only = Collector()
        cls._only._leaves = cls._only._quits = False
        _pause.add(_THREADS)
        cls._only._timer.start()

    @classmethod
    def let_go(cls) -> None:
        """Leave it to Python again, as soon as the event loop has come to it."""
        self = cls._only
        if self is not None:
            self._leaves = True
            if self._quits:
                self._leave()

    @Slot()
    def _on_quit(self) -> None:
        # the event loop does not come back; threads may end before or after this
        self._quits = True
        if self._leaves:
            self._leave()

    def _leave(self) -> None:
        """Collect what is left of a window before other threads may, and leave the rest to them."""
        self._timer.stop()
        if _pause.only(_THREADS):
            gc.collect()
        _pause.remove(_THREADS)

    @Slot()
    def collect(self) -> None:
        """Collect the generations that are due."""
        if self._leaves:
            self._leave()
            return
        if not _pause.only(_THREADS):
            return
        due = [
            number > threshold > 0
            for number, threshold in zip(gc.get_count(), _pause.thresholds, strict=True)
        ]
        if all(due) and time.monotonic() >= self._next_full:
            since = time.perf_counter()
            gc.collect()
            self._next_full = time.monotonic() + _REST * (time.perf_counter() - since)
        elif due[0]:
            gc.collect(1 if due[1] else 0)


@contextmanager
def put_off() -> Iterator[None]:
    """Collect nothing on any thread: what is made within is there to stay.

    A million new objects have Python look for garbage among all that there are, several times, and
    each time no thread goes on for up to half a second.
    """
    _pause.add(_IMPORT)
    try:
        yield
    finally:
        # puts what was made among the old, where it does not call for the next search
        gc.freeze()
        gc.unfreeze()
        _pause.remove(_IMPORT)
