"""Pages that scroll where the window is too low for them."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

_LEAST_HEIGHT = 120


class _Area(QScrollArea):
    """Scrolls up and down alone: it is as wide as what is in it."""

    def minimumSizeHint(self) -> QSize:
        """Ask for the width of the page and of the scroll bar, and for little height."""
        inside, bar = self.widget(), self.verticalScrollBar()
        if inside is None or bar is None:
            return super().minimumSizeHint()
        return QSize(inside.minimumSizeHint().width() + bar.sizeHint().width(), _LEAST_HEIGHT)


def scrolling_layout(page: QWidget) -> QVBoxLayout:
    """Return an empty column for the contents of a page, which scrolls where they are too high."""
    area = _Area(page)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(QWidget())
    layout = QVBoxLayout(page)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(area)
    return QVBoxLayout(area.widget())


class _WheelGuard(QObject):
    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Leave the wheel to the page while the widget has no focus."""
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        if isinstance(watched, QWidget) and watched.hasFocus():
            return False
        event.ignore()
        return True


def wheel_needs_focus(widget: QWidget) -> None:
    """Let a spin or combo box follow the wheel only once it was clicked.

    Or scrolling the page would change the values that come under the mouse.
    """
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_WheelGuard(widget))
