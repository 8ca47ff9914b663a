"""A line whose text changes often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from qtpy.QtGui import QResizeEvent


class StillLine(QWidget):
    """Holds a label of one line, and keeps from the layout around it that its text changes.

    A label wants to be laid out anew with every text, and so does then all that it stands in, up to
    the window with its docks: several times a second that is most of what a window does while it
    trains.

    Parameters
    ----------
    label
        The label; it gets all the room there is, and elides what does not fit.
    """

    def __init__(self, label: QWidget) -> None:
        super().__init__()
        self._label = label
        label.setParent(self)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Ask for a line's height."""
        return QSize(0, self._label.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Give the label all the room."""
        self._label.resize(self.size())
