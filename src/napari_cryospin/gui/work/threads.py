"""Threads that always end: with their owner, with the program, and never while they still work."""

from __future__ import annotations

import atexit
import logging
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtCore import QCoreApplication, QObject, QThread

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


def take_one_core() -> None:
    """Let torch use one core in the calling thread: the others are the training's."""
    import torch

    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


class WorkerThread:
    """A thread with the worker that lives in it.

    It is no QObject and knows nothing of its owner, so it can end the thread when the owner is gone
    already: when a viewer is closed its docks are destroyed without a close event.

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
        worker.moveToThread(self.thread)
        owner.destroyed.connect(self.end)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.end)

    def start(self, priority: QThread.Priority = QThread.Priority.InheritPriority) -> None:
        """Start the thread."""
        self._running.add(self)
        self.thread.start(priority)

    def end(self, *_: object) -> None:
        """End the thread and wait for it; nothing happens where it has ended."""
        if self not in self._running:
            return
        if self._hurry is not None:
            self._hurry()
        self.thread.quit()
        if self.thread.wait(self._timeout_ms):
            self._running.discard(self)
        else:
            logger.warning("The thread %s did not end in time", self.thread.objectName())

    @classmethod
    def end_all(cls) -> None:
        """End every thread: the last resort of a program that exits without its event loop."""
        for thread in list(cls._running):
            thread.end()


atexit.register(WorkerThread.end_all)
