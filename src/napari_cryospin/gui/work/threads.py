"""Threads that always end: with their owner, with the program, and never while they still work."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtCore import QCoreApplication, QObject, Qt, QThread, Slot

from napari_cryospin.gui.work.garbage import Collector

if TYPE_CHECKING:
    from collections.abc import Callable

_MOMENT_MS = 50
# by so much "nicer" than the window is a worker, and the end of that scale
_NICER, _NICEST = 10, 19

logger = logging.getLogger(__name__)


def take_one_core() -> None:
    """Let torch use one core in the calling thread: the others are the training's."""
    import torch

    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def _step_back() -> None:
    """Let the calling thread leave the processor to the window where both want it."""
    if sys.platform == "linux":
        # of a thread, not of the process, and those that torch starts from it inherit it
        with suppress(OSError):
            thread = threading.get_native_id()
            nice = os.getpriority(os.PRIO_PROCESS, thread) + _NICER
            os.setpriority(os.PRIO_PROCESS, thread, min(nice, _NICEST))
    else:
        QThread.currentThread().setPriority(QThread.Priority.LowPriority)


class _Reaper(QObject):
    """Lives on the main thread, and lets go of threads there once they have ended."""

    @Slot()
    def reap(self) -> None:
        # the signal comes a moment before the end
        for thread in WorkerThread.left():
            if thread.thread.wait(_MOMENT_MS):
                WorkerThread.forget(thread)


class WorkerThread:
    """A thread with the worker that lives in it.

    It is no QObject and knows nothing of its owner, so it can end the thread when the owner is gone
    already: when a viewer is closed its docks are destroyed without a close event. It is then told
    to end, and nobody waits for it before the program ends.

    Parameters
    ----------
    worker
        Is moved to the thread.
    owner
        The thread ends when this object is destroyed.
    name
        Name of the thread.
    hurry
        Called first at the end: tells the worker to finish soon.
    timeout_ms
        How long the end waits for the worker.
    """

    # keeps threads from the garbage collector: a QThread must not be destroyed while it runs
    _running: ClassVar[set[WorkerThread]] = set()
    _reaper: ClassVar[_Reaper | None] = None

    def __init__(
        self,
        worker: QObject,
        owner: QObject,
        name: str,
        *,
        hurry: Callable[[], None] | None = None,
        timeout_ms: int = 10_000,
    ) -> None:
        self._worker, self._hurry, self._timeout_ms = worker, hurry, timeout_ms
        self.thread = QThread()
        self.thread.setObjectName(name)
        # before all else that the start of the thread sets going there
        self.thread.started.connect(_step_back, type=Qt.ConnectionType.DirectConnection)  # type: ignore[call-arg]
        worker.moveToThread(self.thread)
        self._left = False
        if WorkerThread._reaper is None:
            WorkerThread._reaper = _Reaper()
        self.thread.finished.connect(WorkerThread._reaper.reap)
        owner.destroyed.connect(self.leave)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.end)

    def start(self) -> None:
        """Start the thread."""
        self._running.add(self)
        Collector.hold()
        self.thread.start()

    def leave(self, *_: object) -> None:
        """Tell the thread to end, and do not wait for it."""
        if self not in self._running:
            return
        self._left = True
        if self._hurry is not None:
            self._hurry()
        self.thread.quit()

    def end(self, *_: object) -> None:
        """End the thread and wait for it; nothing happens where it has ended."""
        if self not in self._running:
            return
        if self._hurry is not None:
            self._hurry()
        self.thread.quit()
        if self.thread.wait(self._timeout_ms):
            self.forget(self)
        else:
            # it is let go of when it ends after all
            self._left = True
            logger.warning("The thread %s did not end in time", self.thread.objectName())

    @classmethod
    def left(cls) -> list[WorkerThread]:
        """Return the threads that were told to end and that nobody waits for."""
        return [each for each in cls._running if each._left]

    @classmethod
    def forget(cls, thread: WorkerThread) -> None:
        """Let go of a thread that has ended."""
        cls._running.discard(thread)
        if not cls._running:
            Collector.let_go()

    @classmethod
    def end_all(cls) -> None:
        """End every thread: the last resort of a program that exits without its event loop."""
        for thread in list(cls._running):
            thread.end()


atexit.register(WorkerThread.end_all)
