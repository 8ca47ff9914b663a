"""Layouts that follow the shape of the dock: rows that break, boxes that turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QBoxLayout, QSizePolicy, QWidget
from superqt import QFlowLayout

if TYPE_CHECKING:
    from qtpy.QtWidgets import QLayout

# as wide as this there is room for what else stands below
_WIDE = 640


def flowing_row(*widgets: QWidget) -> QFlowLayout:
    """Return a row of widgets that goes on in the next line where it has no room."""
    row = QFlowLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.setHorizontalSpacing(4)
    row.setVerticalSpacing(3)
    for widget in widgets:
        row.addWidget(widget)
    return row


class _Turner(QObject):
    def __init__(self, page: QWidget, box: QBoxLayout, wide: int) -> None:
        super().__init__(page)
        self._box, self._wide = box, wide
        page.installEventFilter(self)

    def eventFilter(self, page: QObject | None, event: QEvent | None) -> bool:
        """Turn the box where its page has another shape."""
        if event is not None and event.type() == QEvent.Type.Resize and isinstance(page, QWidget):
            wide = page.width() >= self._wide
            along = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
            if self._box.direction() != along:
                self._box.setDirection(along)
        return False


def as_stretched(*widgets: QWidget) -> None:
    """Let widgets be as wide as the stretch of their place says, whatever they would like."""
    for widget in widgets:
        policy = widget.sizePolicy()
        policy.setHorizontalPolicy(QSizePolicy.Policy.Ignored)
        widget.setSizePolicy(policy)


def turning_box(
    page: QWidget, *parts: tuple[QWidget | QLayout, int], wide: int = _WIDE
) -> QBoxLayout:
    """Return a box whose parts stand side by side on a wide page, else below each other.

    Parameters
    ----------
    page
        Its width decides.
    parts
        Widgets or layouts, each with its stretch.
    wide
        Width from which on the parts stand side by side, pixels.
    """
    box = QBoxLayout(QBoxLayout.Direction.TopToBottom)
    box.setContentsMargins(0, 0, 0, 0)
    for part, stretch in parts:
        if isinstance(part, QWidget):
            box.addWidget(part, stretch)
        else:
            box.addLayout(part, stretch)
    _Turner(page, box, wide)
    return box
