"""The widget of a setting: its kind, range, name and tooltip are those of the setting."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, FileEdit, FloatSpinBox
from qtpy.QtCore import QObject, Slot

from napari_cryospin.engine.stages import MOST
from napari_cryospin.gui.views.scrolling import wheel_needs_focus

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget

    from napari_cryospin.engine.setting_fields import SettingField

LARGEST = 1_000_000.0
"""The largest number of a field whose setting has no limit above."""
# steps of a share, whatever it is now: small ones can be typed
_LARGEST_STEP_OF_SHARES = 0.01


class SettingWidget:
    """A setting in a form.

    Where the setting can be left open, the value below its range stands for that, in a word.

    Parameters
    ----------
    field
        The setting.
    name
        The widget's name, and its object's name.
    value
        What it shows.

    Attributes
    ----------
    widget
        What goes into the form; for a path, a field with a button that chooses a folder.
    """

    def __init__(self, field: SettingField, name: str, object_name: str, value: Any) -> None:
        self.field = field
        self.widget = self._made(name)
        self.widget.native.setObjectName(object_name)
        wheel_needs_focus(self.widget.native)
        self.value = value
        if field.multiple_of is not None:
            # a child of the widget, and gone with it
            _Rounding(self.widget, field.multiple_of)

    @property
    def value(self) -> Any:
        """The setting's value, as the form shows it."""
        value = self.widget.value
        if isinstance(self.widget, FileEdit):
            # a name of a folder, or nothing
            text = str(self.widget.line_edit.value).strip()
            return Path(text).expanduser().absolute() if text else None
        if self.field.optional and value == self._open:
            return None
        return int(value) if self.field.type is int and not self.field.choices else value

    @value.setter
    def value(self, value: Any) -> None:
        """Show a value; room is made for one that a file may hold and the form does not offer."""
        widget = self.widget
        if isinstance(widget, FileEdit):
            widget.line_edit.value = "" if value is None else str(value)
            return
        if isinstance(widget, ComboBox) and value not in widget.choices:
            widget.choices = (*widget.choices, value)
        elif isinstance(widget, FloatSpinBox):
            widget.step = self._step(value)
            low, high = self._range(widget.step)
            value = low if value is None else value
            widget.min, widget.max = min(low, value), max(high, value)
        widget.value = value

    @property
    def _open(self) -> Any:
        widget: Any = self.widget
        numbers = self.field.optional and self.field.type is not bool
        return widget.min if numbers else None

    def _made(self, name: str) -> ValueWidget[Any]:
        field = self.field
        options: dict[str, Any] = {"name": name, "label": field.title, "tooltip": field.description}
        widget: Any
        if field.choices:
            widget = ComboBox(choices=list(field.choices), **options)
        elif field.type is bool and field.optional:
            # yes, no, or what is left open
            open_too = [(field.unset, None), ("yes", True), ("no", False)]
            made_of_three: ValueWidget[Any] = ComboBox(choices=open_too, **options)
            return made_of_three
        elif field.type is bool:
            widget = CheckBox(text="", **options)
        elif field.type is Path:
            widget = FileEdit(mode=FileDialogMode.EXISTING_DIRECTORY, nullable=True, **options)
            widget.choose_btn.text = "Browse…"
            made_of_path: ValueWidget[Any] = widget
            return made_of_path
        elif field.type in (int, float):
            step = self._step(None)
            low, high = self._range(step)
            widget = FloatSpinBox(min=low, max=high, step=step, **options)
            if field.type is int:
                # magicgui's field of whole numbers has no word for its least one, and takes no
                # number that is typed whose first digit is out of range
                widget.native.setDecimals(0)
        else:
            raise TypeError(f"no widget suits {field.type}")
        if field.optional:
            widget.native.setSpecialValueText(field.unset)
        made: ValueWidget[Any] = widget
        return made

    def _step(self, value: float | None) -> float:
        """Return a step that suits a value: a tenth of its decade."""
        if self.field.type is int:
            return self.field.step or 1
        step = 10.0 ** round(_decade(value or 10) - 1)
        high = self.field.high
        return min(step, _LARGEST_STEP_OF_SHARES) if high is not None and high <= 1 else step

    def _range(self, step: float) -> tuple[float, float]:
        """Return the least and the largest value; a limit that is excluded is a step away."""
        field, step = self.field, 1 if self.field.type is int else step
        low = -LARGEST if field.low is None else field.low + step * field.low_excluded
        high = MOST if field.type is int else LARGEST
        if field.high is not None:
            high = field.high - step * field.high_excluded
        return (low - step if field.optional else low), high


class _Rounding(QObject):
    """Keeps what is typed to multiples."""

    def __init__(self, widget: Any, multiple_of: int) -> None:
        super().__init__(widget.native)
        self._native, self._multiple_of = widget.native, multiple_of
        widget.native.editingFinished.connect(self.round)

    @Slot()
    def round(self) -> None:
        """Take the multiple below."""
        value = self._native.value()
        self._native.setValue(value - value % self._multiple_of)


def _decade(value: float) -> float:
    return math.floor(math.log10(value)) if value > 0 else 0
