"""The button beside the switch: when the present stage ends by itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal, Slot
from qtpy.QtWidgets import QInputDialog, QMenu, QPushButton, QWidget

from napari_cryospin.engine.stages import MOST

if TYPE_CHECKING:
    from napari_cryospin.engine.events import EpochStarted
    from napari_cryospin.engine.switch_at import SwitchAt

_TIP = (
    "When the present stage ends, and the next one begins: after an epoch, by the stage's own "
    "criterion, or only when you press the button beside this one"
)


class ScheduleButton(QPushButton):
    """Shows when the present stage ends, and lets it end otherwise.

    ``chosen`` carries that as :meth:`.Controls.set_switch` takes it. Epochs are shown and asked for
    as they count in the run.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("run_schedule")
        self.setToolTip(_TIP)
        self._before = self._present = 0
        self._ends: SwitchAt | None = None
        menu = QMenu(self)
        self.after = menu.addAction("After an epoch …")
        self.auto = menu.addAction("Auto: by the stage's criterion")
        self.never = menu.addAction("Never: by hand alone")
        menu.addSeparator()
        self.as_set = menu.addAction("As the settings say")
        assert self.after and self.auto and self.never and self.as_set
        self.after.triggered.connect(self._on_after)
        self.auto.triggered.connect(partial(self._choose, "auto"))
        self.never.triggered.connect(partial(self._choose, "never"))
        self.as_set.triggered.connect(partial(self._choose, None))
        self.setMenu(menu)
        self._say()
        self.setMinimumHeight(self.sizeHint().height())

    def show_epoch(self, event: EpochStarted) -> None:
        """Show when the stage of an epoch ends."""
        self._before, self._present = event.epoch - event.stage_epoch, event.epoch + 1
        self.show_end(event.ends)

    def show_end(self, ends: SwitchAt | None) -> None:
        """Show when the present stage ends."""
        self._ends = ends
        self._say()

    def allow(self, possible: bool) -> None:
        """Let the end be moved, or not: nothing comes after the last stage."""
        self.setEnabled(possible)
        self._say()

    def _say(self) -> None:
        ends = self._ends if self.isEnabled() else None
        when = f"epoch {self._before + ends}" if isinstance(ends, int) else ends
        self.setText(f"Switch at: {when}" if when else "Switch at")

    def _choose(self, at: SwitchAt | None, _checked: bool = False) -> None:
        self.chosen.emit(at)

    @Slot()
    def _on_after(self) -> None:
        ends = self._ends
        value = self._before + ends if isinstance(ends, int) else self._present
        epoch, given = QInputDialog.getInt(
            self,
            "Switch at",
            f"End this stage after epoch (of the run; it is in epoch {self._present})",
            max(value, self._present),
            self._present,
            MOST,
        )
        if given:
            self._choose(epoch - self._before)
