"""Short work off the main thread, such as reading a file; its result comes back by a signal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.gui.work.engine_import import import_engine
from napari_cryospin.gui.work.threads import WorkerThread

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


def told(error: Exception) -> str:
    """Return one sentence on what ended a task; what nobody expected goes to the log as well."""
    from napari_cryospin.engine.failures import known_failure, one_line

    known = known_failure(error)
    if known is None:
        logger.error("Work in the background failed", exc_info=error)
        return f"This failed unexpectedly: {one_line(str(error)) or type(error).__name__}"
    return known


class _Worker(QObject):
    done = Signal(int, object)
    failed = Signal(int, str)

    @Slot(int, object)
    def work(self, ticket: int, task: Callable[[], Any]) -> None:
        try:
            import_engine()
            result = task()
        except Exception as error:
            self.failed.emit(ticket, told(error))
        else:
            self.done.emit(ticket, result)


class Background(QObject):
    """One thread for small tasks, in order; only the answer to the latest task is heard.

    ``done`` carries the result, ``failed`` a sentence for the user; both arrive on the main thread.
    """

    done = Signal(object)
    failed = Signal(str)
    _asked = Signal(int, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._ticket = 0
        self._worker = _Worker()
        self._thread = WorkerThread(self._worker, self, "cryospin-background")
        self._asked.connect(self._worker.work)
        self._worker.done.connect(self._on_done)
        self._worker.failed.connect(self._on_failed)
        self._thread.start()

    def submit(self, task: Callable[[], Any]) -> None:
        """Run a task; the answers to earlier ones are dropped."""
        self._ticket += 1
        self._asked.emit(self._ticket, task)

    def drop(self) -> None:
        """Hear of no task that was submitted before."""
        self._ticket += 1

    @Slot(int, object)
    def _on_done(self, ticket: int, result: object) -> None:
        if ticket == self._ticket:
            self.done.emit(result)

    @Slot(int, str)
    def _on_failed(self, ticket: int, message: str) -> None:
        if ticket == self._ticket:
            self.failed.emit(message)
