"""Buttons by which a person says of chosen particles whether they belong."""

from __future__ import annotations

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QPushButton, QShortcut, QWidget

from napari_cryospin.engine.data.member import APART, BELONGS, OPEN

# what was said of an image, behind its membership
MARKS = {BELONGS: " ✓", APART: " ✗", OPEN: ""}
_HOW = (
    "{} (key {}). A run that is under way heeds it from its next batch on; of one that has ended, "
    "exports and branches do"
)
_BUTTONS = (
    (BELONGS, "Belongs: keep", "K", "Take the selected back: they show the particle"),
    (APART, "Does not belong", "D", "Set the selected apart: they do not show the particle"),
    (OPEN, "Leave to the program", "L", "Let the program find out whether the selected belong"),
)


class BelongsButtons(QObject):
    """Three words on what is selected, and the way back; each has a key within its page.

    ``said`` carries a word: BELONGS, APART or OPEN.

    Parameters
    ----------
    page
        Where the keys are heard.
    """

    said = Signal(int)
    undo_asked = Signal()

    def __init__(self, page: QWidget) -> None:
        super().__init__(page)
        self.words = {word: self._button(page, name, key, tip) for word, name, key, tip in _BUTTONS}
        for word, button in self.words.items():
            button.clicked.connect(lambda _=False, word=word: self.said.emit(word))
        self.undo = self._button(page, "Undo", "Ctrl+Z", "Take back what was said last")
        self.undo.clicked.connect(self.undo_asked)
        self.set_state(selected=0, can_undo=False)

    @property
    def widgets(self) -> tuple[QPushButton, ...]:
        """The buttons, in order."""
        return (*self.words.values(), self.undo)

    def set_state(self, *, selected: int, can_undo: bool) -> None:
        """Open the buttons that can do something."""
        for button in self.words.values():
            button.setEnabled(selected > 0)
        self.undo.setEnabled(can_undo)

    def _button(self, page: QWidget, name: str, key: str, tip: str) -> QPushButton:
        button = QPushButton(name, page)
        button.setToolTip(_HOW.format(tip, key))
        # a click leaves the keys with the images or rows that were chosen
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        shortcut = QShortcut(QKeySequence(key), page)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(button.click)
        return button
