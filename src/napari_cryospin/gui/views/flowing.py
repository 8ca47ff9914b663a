"""Layouts that follow the shape of the dock: boxes and rows that turn.

They are Qt's own: a layout written in Python is asked for its size while its widgets are destroyed,
which PySide6 answers with tracebacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QBoxLayout, QHBoxLayout, QSizePolicy, QWidget

if TYPE_CHECKING:
    from qtpy.QtWidgets import QLayout

# as wide as this there is room for what else stands below
_WIDE = 640


def turning_row(page: QWidget, *widgets: QWidget) -> QBoxLayout:
    """Return a row of widgets, of which half are in a second row where the page is too narrow."""
    half = (len(widgets) + 1) // 2
    rows = QHBoxLayout(), QHBoxLayout()
    for row, part in zip(rows, (widgets[:half], widgets[half:]), strict=True):
        row.setSpacing(4)
        for widget in part:
            row.addWidget(widget)
        row.addStretch(1)
    box = turning_box(page, (rows[0], 0), (rows[1], 1), wide=None)
    box.setSpacing(3)
    return box


class _Turner(QObject):
    def __init__(self, page: QWidget, box: QBoxLayout, wide: int | None) -> None:
        super().__init__(page)
        self._box, self._wide = box, wide
        page.installEventFilter(self)

    def _least(self) -> int:
        """Return the width from which on the parts stand side by side."""
        if self._wide is not None:
            return self._wide
        parts = [self._box.itemAt(place) for place in range(self._box.count())]
        return sum(part.sizeHint().width() + self._box.spacing() for part in parts if part)

    def eventFilter(self, page: QObject | None, event: QEvent | None) -> bool:
        """Turn the box where its page has another shape."""
        if event is not None and event.type() == QEvent.Type.Resize and isinstance(page, QWidget):
            wide = page.width() >= self._least()
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
    page: QWidget, *parts: tuple[QWidget | QLayout, int], wide: int | None = _WIDE
) -> QBoxLayout:
    """Return a box whose parts stand side by side on a wide page, else below each other.

    Parameters
    ----------
    page
        Its width decides.
    parts
        Widgets or layouts, each with its stretch.
    wide
        Width from which on the parts stand side by side, pixels; None where they have room.
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
