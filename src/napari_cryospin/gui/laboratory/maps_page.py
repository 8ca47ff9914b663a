"""Two maps of the compared runs in the canvas, with a slider from the one to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal, Slot
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_cryospin.gui.canvas.two_maps import COLOURS, FIRST, SECOND
from napari_cryospin.gui.views.scrolling import wheel_needs_focus
from napari_cryospin.gui.work.background import Background

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cryospin.engine.experiments.records import RunRecord
    from napari_cryospin.engine.experiments.two_maps import TwoMaps
    from napari_cryospin.gui.canvas.two_maps import ComparedMaps

_STEPS = 100
_NOTE = "The latest maps of two runs, the second in the frame and hand of the first."


class MapsPage(QWidget):
    """Chooses two runs and shows their maps.

    Parameters
    ----------
    layers
        The two layers.

    Attributes
    ----------
    message
        Emitted with a sentence for the user.
    """

    message = Signal(str)

    def __init__(self, layers: ComparedMaps, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers = layers
        self._runs: list[RunRecord] = []
        self._reader = Background(self)
        self._reader.done.connect(self._on_maps)
        self._reader.failed.connect(self._on_failed)
        self._build()

    def _build(self) -> None:
        self.first, self.second = QComboBox(), QComboBox()
        grid = QGridLayout()
        pairs = ((FIRST, self.first, "first"), (SECOND, self.second, "second"))
        for row, (key, box, name) in enumerate(pairs):
            box.setObjectName(f"compare_{name}_map")
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            wheel_needs_focus(box)
            colour = f'<span style="color: {COLOURS[key]}">■</span> {name}'
            grid.addWidget(QLabel(colour), row, 0)
            grid.addWidget(box, row, 1)
        grid.setColumnStretch(1, 1)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("compare_blend")
        self.slider.setToolTip("From the first map to the second; in the middle both are seen")
        self.slider.setRange(0, _STEPS)
        self.slider.setValue(_STEPS // 2)
        self.slider.valueChanged.connect(self._on_slider)
        between = QHBoxLayout()
        for widget, stretch in ((QLabel("first"), 0), (self.slider, 1), (QLabel("second"), 0)):
            between.addWidget(widget, stretch)
        self.show_maps = QPushButton("Show in the canvas")
        self.show_maps.setObjectName("compare_show_maps")
        self.show_maps.setToolTip("Show both maps; the live map is hidden for as long")
        self.show_maps.clicked.connect(self._on_show)
        self.put_away = QPushButton("Put away")
        self.put_away.setObjectName("compare_put_away")
        self.put_away.setToolTip("Hide both, and show what was shown before")
        self.put_away.clicked.connect(self._on_put_away)
        self.put_away.setEnabled(False)
        self.show_maps.setEnabled(False)
        buttons = QHBoxLayout()
        buttons.addWidget(self.show_maps)
        buttons.addWidget(self.put_away)
        self.note = QLabel(_NOTE)
        self.note.setObjectName("compare_maps_note")
        self.note.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(grid)
        layout.addLayout(between)
        layout.addLayout(buttons)
        layout.addWidget(self.note)
        layout.addStretch()

    def set_runs(self, runs: Sequence[RunRecord]) -> None:
        """Offer other runs; what was chosen stays, where it is among them."""
        self._runs = list(runs)
        names = [run.name for run in runs]
        for box, usual in ((self.first, 0), (self.second, 1)):
            chosen = box.currentText()
            with QSignalBlocker(box):
                box.clear()
                box.addItems(names)
                place = names.index(chosen) if chosen in names else min(usual, len(names) - 1)
                box.setCurrentIndex(place)
        self.show_maps.setEnabled(len(names) > 1)

    @Slot()
    def _on_show(self) -> None:
        first, second = (self._runs[box.currentIndex()] for box in (self.first, self.second))
        self.note.setText(f"Reading the maps of {first.name} and {second.name} …")

        def task() -> TwoMaps:
            from napari_cryospin.engine.experiments.two_maps import two_maps

            return two_maps(first, second)

        self._reader.submit(task)

    @Slot(object)
    def _on_maps(self, maps: TwoMaps) -> None:
        self._layers.show(
            {
                FIRST: (maps.first, maps.pixel_sizes[0]),
                SECOND: (maps.second, maps.pixel_sizes[1]),
            }
        )
        self.note.setText(maps.note)
        self.put_away.setEnabled(True)

    @Slot(str)
    def _on_failed(self, sentence: str) -> None:
        self.note.setText(sentence)
        self.message.emit(sentence)

    @Slot(int)
    def _on_slider(self, value: int) -> None:
        self._layers.blend(value / _STEPS)

    @Slot()
    def _on_put_away(self) -> None:
        self._layers.put_away()
        self.put_away.setEnabled(False)
        self.note.setText(_NOTE)
