"""Which class's map the canvas shows: all side by side, or one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Slot
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from napari_cryospin.gui.colours import class_colour, class_label

if TYPE_CHECKING:
    from napari_cryospin.gui.explorer.state import Explorer

_SQUARE = 12


class ClassChooser(QWidget):
    """A label and a combo box, which are there where there are several classes.

    Parameters
    ----------
    explorer
        Whose shown class it is.
    """

    def __init__(self, explorer: Explorer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self.shown = QComboBox(self)
        self.shown.setObjectName("class_shown")
        self.shown.setToolTip(
            "The maps of all classes side by side, or that of one; Views, Heads and Data set of "
            "the posterior explorer are of one class: the one shown, or the first"
        )
        self.shown.activated.connect(self._on_chosen)
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 0, 6, 0)
        row.addWidget(QLabel("Class shown", self))
        row.addWidget(self.shown, 1)
        explorer.volume_changed.connect(self._refresh)
        explorer.run_changed.connect(self._refresh)
        explorer.class_changed.connect(self._refresh)
        self.hide()

    @Slot()
    @Slot(object)
    def _refresh(self, _event: object = None) -> None:
        n = self._explorer.n_classes
        if self.shown.count() != n + 1:
            self.shown.clear()
            self.shown.addItem("side by side", None)
            for number in range(n):
                square = QPixmap(_SQUARE, _SQUARE)
                square.fill(QColor(class_colour(number)))
                self.shown.addItem(QIcon(square), class_label(number), number)
        self.shown.setCurrentIndex(max(self.shown.findData(self._explorer.shown_class), 0))
        if self.isHidden() == (n > 1):
            self.setVisible(n > 1)

    @Slot(int)
    def _on_chosen(self, place: int) -> None:
        self._explorer.show_class(self.shown.itemData(place))
