"""Closing napari's window, or the dock, while a run is under way: asked first, never waited for.

A docked widget gets no close event. The window's is caught before napari sees it; the dock is
closed by a button of its title bar, which calls ``destroyOnClose`` of napari's dock widget.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QTimer, Slot
from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_cryospin.gui.work.ancestor import ancestor
from napari_cryospin.gui.work.questions import Ending, ask_cancel, ask_ending
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

    from napari_cryospin.gui.work.experiment_queue import ExperimentQueue
    from napari_cryospin.gui.work.session import Session


class ClosingGuard(QObject):
    """Asks what becomes of a run before its window or its dock is closed, and closes at its end.

    Parameters
    ----------
    session
        Has the run, and is told to stop it.
    dock
        The widget in the dock; :meth:`watch` once it has been put there.
    queue
        May have an experiment under way, and is told to end it.
    """

    def __init__(self, session: Session, dock: QWidget, queue: ExperimentQueue) -> None:
        super().__init__(dock)
        self._session, self._dock, self._queue = session, dock, queue
        # weak, as are those of what is put into napari's dock widget: none must outlive its window
        self._window: Callable[[], QMainWindow | None] = _nothing
        self._docked: Callable[[], QDockWidget | None] = _nothing
        self._then: Callable[[], object] | None = None
        session.state_changed.connect(self._on_state)
        queue.changed.connect(self._on_state)

    def watch(self) -> None:
        """Watch the window and the dock widget that the dock is in now."""
        docked, window = ancestor(self._dock, QDockWidget), ancestor(self._dock, QMainWindow)
        if window is not None and window is not self._window():
            self._window = weakref.ref(window)
            window.installEventFilter(self)
        if docked is not None and docked is not self._docked():
            self._docked = weakref.ref(docked)
            self._guard(docked)

    def _guard(self, docked: Any) -> None:
        """Ask before a dock widget of napari is closed for good; hiding it ends no run."""
        if not hasattr(docked, "destroyOnClose"):
            # in another program than napari
            return
        guard = weakref.ref(self)

        def asked() -> None:
            known = guard()
            if known is not None and known._may_close(known._close_dock):
                known._close_dock()

        docked.destroyOnClose = asked

    def _close_dock(self) -> None:
        docked: Any = self._docked()
        if docked is not None:
            type(docked).destroyOnClose(docked)
            # now, while all that listens to it is there, not when Python comes to its garbage
            self._dock.deleteLater()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Hold the window's close event back where a run is under way."""
        assert event is not None
        if event.type() != QEvent.Type.Close or watched is not self._window():
            return False
        if _closed_by_a_program(watched) or self._may_close(self._close_window):
            return False
        event.ignore()
        return True

    def _may_close(self, close: Callable[[], object]) -> bool:
        """Ask, and return whether to close now; otherwise it is closed when the run has ended."""
        session = self._session
        if self._queue.active:
            return self._may_leave_experiment(close)
        # who asks again while it stops does not want to wait: the run ends without a window
        if not session.active or session.state is SessionState.STOPPING:
            return True
        answer = ask_ending(self._dock, session.folder, len(session.history))
        if not session.active:
            # it has ended while the question stood
            return answer is not Ending.GO_ON
        if answer is not Ending.GO_ON:
            self._then = close
            session.stop(keep=answer is Ending.KEEP)
            session.message.emit("Stopping: this closes as soon as the run has ended.")
        return False

    def _may_leave_experiment(self, close: Callable[[], object]) -> bool:
        """Ask, and return whether to close now; otherwise it is closed once a cell has stopped."""
        if self._queue.stopping:
            return True
        queued = self._queue.present
        if not ask_cancel(self._dock, None if queued is None else queued.folder):
            return False
        if not self._queue.active:
            # it has ended while the question stood
            return True
        self._then = close
        self._queue.cancel()
        self._session.message.emit("Stopping: this closes as soon as the cell has stopped.")
        return False

    def _close_window(self) -> None:
        window = self._window()
        if window is not None:
            # past napari's own close, which would ask again, and knows already whether to quit
            QMainWindow.close(window)

    @Slot()
    @Slot(object)
    def _on_state(self, _state: object = None) -> None:
        if self._then is not None and not self._session.active and not self._queue.active:
            then, self._then = self._then, None
            # once everybody has heard of the end
            QTimer.singleShot(0, then)


def _nothing() -> None:
    """Stand for a weak reference to what is not known yet."""


def _closed_by_a_program(window: Any) -> bool:
    """Whether ``Viewer.close`` closes a window: it asks nobody, and cannot be held back.

    It has closed the canvas by then, which is what tells it from a user.
    """
    canvas = getattr(window, "_qt_viewer", None)
    return canvas is not None and canvas.isHidden()
