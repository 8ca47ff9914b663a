"""The stages of a run, to be looked at and changed: their order, and the settings of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container
from qtpy.QtCore import Qt, Signal, Slot
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QListWidget,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cryospin.engine.setting_fields import field_of
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.panels.setting_widgets import SettingWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENDS = {"epochs": "", "criterion": " or its criterion", "hand": ", ended by hand"}


class StagesEditor(QWidget):
    """A list of stages with buttons to add, remove and move them, and a form of the chosen one.

    Attributes
    ----------
    changed
        Emitted when the user has changed anything.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._stages: list[Any] = []
        self._form: Container[Any] | None = None
        self._fields: dict[str, SettingWidget] = {}
        self.list = QListWidget()
        self.list.setObjectName("stages_list")
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setToolTip("The stages in order; choose one to change its settings")
        # it would hide one of two stages; what a line has no room for is in its tip
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.currentRowChanged.connect(self._on_chosen)
        self.add = QToolButton()
        self.add.setText("Add ▾")
        self.add.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.add.setObjectName("stages_add")
        self.add.setToolTip("Add a stage after the chosen one")
        self.add.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.add)
        for inference in Inference.registered():
            action = menu.addAction(inference.label.capitalize())
            action.triggered.connect(lambda _checked=False, kind=inference: self.insert(kind))
        self.add.setMenu(menu)
        self.remove = self._button("Remove", "remove", "Take the chosen stage out")
        self.earlier = self._button("▲", "earlier", "Move the chosen stage up")
        self.later = self._button("▼", "later", "Move the chosen stage down")
        self.remove.clicked.connect(self._on_remove)
        self.earlier.clicked.connect(self._on_earlier)
        self.later.clicked.connect(self._on_later)
        buttons = QHBoxLayout()
        for button in (self.add, self.remove, self.earlier, self.later):
            buttons.addWidget(button)
        buttons.addStretch()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(3)
        self._column.addWidget(self.list)
        self._column.addLayout(buttons)

    def _button(self, text: str, name: str, tip: str) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setObjectName(f"stages_{name}")
        button.setToolTip(tip)
        return button

    @property
    def stages(self) -> list[Any]:
        """Copies of the stages' settings, in order."""
        return [stage.model_copy() for stage in self._stages]

    def show_stages(self, stages: Sequence[Any]) -> None:
        """Show the settings of stages, in order."""
        self._stages = [stage.model_copy() for stage in stages]
        self._show(min(max(self.list.currentRow(), 0), len(stages) - 1))

    def insert(self, inference: Inference) -> None:
        """Add a stage with its default settings after the chosen one."""
        place = self.list.currentRow() + 1
        self._stages.insert(place, inference.stage())
        self._show(place)
        self.changed.emit()

    @property
    def form(self) -> Container[Any]:
        """The form of the chosen stage."""
        assert self._form is not None
        return self._form

    def _show(self, chosen: int) -> None:
        self.list.blockSignals(True)
        self.list.clear()
        for row in range(len(self._stages)):
            self.list.addItem("")
            self._name(row)
        self.list.setCurrentRow(chosen)
        self.list.blockSignals(False)
        row = self.list.sizeHintForRow(0) + 2
        self.list.setFixedHeight(row * min(max(len(self._stages), 2), 5) + 6)
        self._on_chosen(chosen)

    @Slot(int)
    def _on_chosen(self, row: int) -> None:
        if self._form is not None:
            self._column.removeWidget(self._form.native)
            self._form.native.setParent(None)
            self._form.native.deleteLater()
            self._form = None
        if row < 0:
            return
        stage = self._stages[row]
        self._fields = {
            name: SettingWidget(
                field_of(type(stage), name), name, f"stage_{name}", getattr(stage, name)
            )
            for name in type(stage).model_fields
            if name != "inference"
        }
        widgets = [field.widget for field in self._fields.values()]
        self._form = Container(widgets=widgets)
        self._form.margins = (0, 0, 0, 0)
        for widget in widgets:
            widget.changed.connect(lambda _value, name=widget.name: self._on_value(name))
        self._close_idle()
        self._column.addWidget(self._form.native)
        self.remove.setEnabled(len(self._stages) > 1)
        self.earlier.setEnabled(row > 0)
        self.later.setEnabled(row + 1 < len(self._stages))

    def _on_value(self, name: str) -> None:
        row = self.list.currentRow()
        stage = self._stages[row]
        setattr(stage, name, self._fields[name].value)
        self._close_idle()
        self._name(row)
        self.changed.emit()

    def _name(self, row: int) -> None:
        """Say in the list what a stage is."""
        item, words = self.list.item(row), describe_stage(self._stages[row])
        item.setText(f"{row + 1}. {words}")
        item.setToolTip(words)

    def _close_idle(self) -> None:
        """Close the fields that change nothing, as the others are."""
        idle = self._stages[self.list.currentRow()].idle
        for name, field in self._fields.items():
            field.widget.enabled = name not in idle

    @Slot()
    def _on_remove(self) -> None:
        row = self.list.currentRow()
        del self._stages[row]
        self._show(min(row, len(self._stages) - 1))
        self.changed.emit()

    @Slot()
    def _on_earlier(self) -> None:
        self._move(-1)

    @Slot()
    def _on_later(self) -> None:
        self._move(1)

    def _move(self, by: int) -> None:
        row = self.list.currentRow()
        self._stages.insert(row + by, self._stages.pop(row))
        self._show(row + by)
        self.changed.emit()


def describe_stage(stage: Any) -> str:
    """Return a stage's settings in a line."""
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs} epochs"
    text = f"{stage.inference.label}, {epochs}{_ENDS[stage.until]}"
    return ", ".join(filter(None, (text, stage.summary())))
