"""What napari has no public way to: its canvas, as Qt and OpenGL see it.

All that is reached in this way makes the window calmer where a processor draws; nothing depends on
it, and where napari is not as expected, nothing is done.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QTimer, Slot

from napari_cryospin.gui.work.one_by_one import BEAT_MS

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget

# a little longer than to the next piece of work, which shows what was made meanwhile
_STILL_MS = BEAT_MS + 10


def canvas_of(viewer: ViewerModel) -> Any:
    """Return napari's canvas, or None of a viewer without a window."""
    # what a plugin is given warns of every look behind it
    whole = getattr(viewer, "__wrapped__", viewer)
    with suppress(AttributeError):
        return whole.window._qt_viewer.canvas
    return None


def keep_still(viewer: ViewerModel) -> None:
    """Leave the canvas as it is for a moment, in which what is not to be seen yet is made.

    napari asks for a new drawing with each new layer, though it be hidden, and a drawing takes as
    long as the making.
    """
    native = getattr(canvas_of(viewer), "native", None)
    if native is not None:
        _Still(native)


def prepare_characters(viewer: ViewerModel, characters: str) -> None:
    """Make the pictures of characters that are to be written on the canvas.

    napari makes those of all characters as they are first drawn, in one turn.
    """
    with suppress(AttributeError):
        font = canvas_of(viewer).font_info()
        for character in characters:
            font.font_manager.get_font(font.face)[character]


class _Still(QObject):
    """Keeps a widget from being painted for a moment; its child, for it outlives our docks."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget, self._missed = widget, False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._end)
        self._timer.start(_STILL_MS)
        widget.installEventFilter(self)

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        """Keep paintings away: what was painted last stays."""
        painting = event is not None and event.type() == QEvent.Type.Paint
        self._missed |= painting
        return painting

    @Slot()
    def _end(self) -> None:
        self._widget.removeEventFilter(self)
        if self._missed:
            self._widget.update()
        self.deleteLater()
