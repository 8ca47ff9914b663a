"""A box for the number of a particle: its row of the particle table, from 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal, Slot
from qtpy.QtWidgets import QSpinBox

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget


class ParticleSpin(QSpinBox):
    """Goes from particle in use to particle in use; a number that is not in use becomes the next.

    ``chosen`` carries the place of the particle among those in use, from 0.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._numbers: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.setKeyboardTracking(False)
        self.setToolTip("Row of the particle table, from 1")
        self.set_numbers(self._numbers)
        self.valueChanged.connect(self._on_value)

    @property
    def place(self) -> int:
        """Place of the present particle among those in use, from 0."""
        after = int(np.searchsorted(self._numbers, self.value()))
        return max(min(after, len(self._numbers) - 1), 0)

    def set_numbers(self, numbers: NDArray[np.int64]) -> None:
        """Offer the particles with these numbers, ascending, shape (n,)."""
        place = self.place
        self._numbers = numbers
        self.blockSignals(True)
        self.setRange(
            int(numbers[0]) if len(numbers) else 0, int(numbers[-1]) if len(numbers) else 0
        )
        self.choose(place)
        self.blockSignals(False)
        self.setEnabled(len(numbers) > 0)

    def choose(self, place: int) -> None:
        """Go to a particle by its place among those in use."""
        if len(self._numbers):
            self.setValue(int(self._numbers[int(np.clip(place, 0, len(self._numbers) - 1))]))

    def stepBy(self, steps: int) -> None:
        """Go on by so many particles in use."""
        self.choose(self.place + steps)

    @Slot(int)
    def _on_value(self, _value: int) -> None:
        place = self.place
        number = int(self._numbers[place]) if len(self._numbers) else self.value()
        if number != self.value():
            # comes back here
            self.setValue(number)
        else:
            self.chosen.emit(place)
