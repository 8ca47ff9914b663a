"""One long task at a time off the main thread: with progress, and it can be stopped."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.gui.work.background import told
from napari_cryospin.gui.work.threads import WorkerThread, take_one_core

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[[int, int], None]


class Stopped(Exception):
    """Raised inside a task that was told to stop."""


class _Worker(QObject):
    progressed = Signal(int, int)
    ended = Signal(object, str)

    def __init__(self) -> None:
        super().__init__()
        self.stop = threading.Event()

    @Slot(object)
    def work(self, task: Callable[[Report], Any]) -> None:
        result, message = None, ""
        take_one_core()
        try:
            result = task(self._report)
        except Stopped:
            message = "Stopped."
        except Exception as error:
            message = told(error)
        self.ended.emit(result, message)

    def _report(self, done: int, total: int) -> None:
        if self.stop.is_set():
            raise Stopped
        self.progressed.emit(done, total)


class LongTask(QObject):
    """Runs a task that calls ``report(done, total)`` now and then.

    ``progressed`` carries done and total, ``done`` the result, ``failed`` a sentence for the user;
    exactly one of the last two ends a task. All arrive on the main thread.
    """

    progressed = Signal(int, int)
    done = Signal(object)
    failed = Signal(str)
    _asked = Signal(object)

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.busy = False
        self._worker = _Worker()
        self._thread = WorkerThread(self._worker, self, name, hurry=self._worker.stop.set)
        self._asked.connect(self._worker.work)
        self._worker.progressed.connect(self.progressed)
        self._worker.ended.connect(self._on_ended)
        self._thread.start()

    def start(self, task: Callable[[Report], Any]) -> bool:
        """Start a task; returns False where one is under way."""
        if self.busy:
            return False
        self.busy = True
        self._worker.stop.clear()
        self._asked.emit(task)
        return True

    @Slot()
    def stop(self) -> None:
        """Tell the task to end at its next report."""
        self._worker.stop.set()

    @Slot(object, str)
    def _on_ended(self, result: object, message: str) -> None:
        self.busy = False
        if message:
            self.failed.emit(message)
        else:
            self.done.emit(result)
