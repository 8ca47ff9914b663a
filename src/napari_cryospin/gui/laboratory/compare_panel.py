"""Compare: runs and branches as a tree beside their curves, their table and their maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, QTimer, Signal, Slot
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_cryospin.engine.experiments.comparison import (
    Axis,
    Measure,
    curve_of,
    groups_of,
    read_records,
    spread_of,
    switch_errors,
    table_of,
    tree_of,
)
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.canvas.two_maps import ComparedMaps
from napari_cryospin.gui.colours import head_colour, stage_colour
from napari_cryospin.gui.laboratory.curves_view import CurvesView, SwitchView
from napari_cryospin.gui.laboratory.maps_page import MapsPage
from napari_cryospin.gui.laboratory.run_tree import RunTree
from napari_cryospin.gui.laboratory.runs_table import RunsTable
from napari_cryospin.gui.views.export import SaveButtons
from napari_cryospin.gui.views.flowing import turning_box, turning_row
from napari_cryospin.gui.views.scrolling import wheel_needs_focus
from napari_cryospin.gui.work.background import Background

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.engine.experiments.records import RunRecord
    from napari_cryospin.gui.work.session import Session

# runs that are still written are looked at so often
_LOOK_MS = 3000
_NO_RUNS = "Add run folders, or the folder of an experiment."
_WIDE, _HIGH = 640, 400
_NARROWEST, _LOWEST = 360, 240
# width that a page needs for what it says beside the buttons that save it
_ROOM = 480
# of the tree and the pages, pixels, at first
_SIZES = (400, 500)


class ComparePanel(QWidget):
    """Reads run folders in the background, and shows them beside each other.

    Parameters
    ----------
    session
        Opens a run that is clicked twice.
    viewer
        Where two maps are shown.
    """

    message = Signal(str)

    def __init__(
        self, session: Session, viewer: ViewerModel, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._paths: list[Path] = []
        self._records: list[RunRecord] = []
        self._build(viewer)
        self._reader = Background(self)
        self._reader.done.connect(self._on_read)
        self._reader.failed.connect(self._on_failed)
        self._looking = QTimer(self)
        self._looking.setInterval(_LOOK_MS)
        self._looking.timeout.connect(self._look_again)
        self._looking.start()
        self.message.connect(session.message)
        self.tree.chosen.connect(self._draw)
        self.tree.open_asked.connect(session.open_run)
        self._say()

    def sizeHint(self) -> QSize:
        """Ask for a low, wide dock."""
        return QSize(900, 330)

    def minimumSizeHint(self) -> QSize:
        """Ask for little: the tree stands above the pages where there is no room beside them."""
        return QSize(_NARROWEST, _LOWEST)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look at what has been written while the panel was hidden."""
        super().showEvent(event)
        if self._paths:
            self._read()

    def add(self, path: Path) -> None:
        """Compare a run, or the runs of an experiment, as well."""
        if path not in self._paths:
            self._paths.append(path)
        self._read()

    def _build(self, viewer: ViewerModel) -> None:
        self.tree = RunTree()
        self.curves, self.switch, self.table = CurvesView(), SwitchView(), RunsTable()
        self.maps = MapsPage(ComparedMaps(viewer, self))
        self.tabs = QTabWidget()
        self.tabs.setObjectName("compare_tabs")
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        for name, page in (
            ("Curves", self._curves_page()),
            ("Switch epoch", self._switch_page()),
            ("Table", self.table),
            ("Two maps", self.maps),
        ):
            self.tabs.addTab(page, name)
        self.table.message.connect(self.message)
        self.maps.message.connect(self.message)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self._runs_page())
        self.splitter.addWidget(self.tabs)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setStretchFactor(1, 1)
        self.splitter.setSizes(list(_SIZES))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        # it may become narrower than what stands side by side, which then turns
        layout.setSizeConstraint(QLayout.SizeConstraint.SetNoConstraint)
        layout.addWidget(self.splitter)

    def resizeEvent(self, event: object) -> None:
        """Put the tree above the pages where the dock is narrow and high."""
        super().resizeEvent(event)  # type: ignore[arg-type]
        wide = self.width() >= _WIDE or self.height() < _HIGH
        self.splitter.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)

    def _runs_page(self) -> QWidget:
        page = QWidget()
        self.add_run = _button("Add runs…", "add", "A run folder, or the folder of an experiment")
        self.shown = _button("This run", "shown", "Add the run that this window shows")
        self.remove = _button("Remove", "remove", "Compare the selected runs no more")
        self.all, self.none = (
            _button(text, name, tip)
            for text, name, tip in (
                ("All", "all", "Compare all of them"),
                ("None", "none", "Take all boxes away"),
            )
        )
        self.add_run.clicked.connect(self._on_add)
        self.shown.clicked.connect(self._on_shown)
        self.remove.clicked.connect(self._on_remove)
        self.all.clicked.connect(self._on_all)
        self.none.clicked.connect(self._on_none)
        buttons = (self.add_run, self.shown, self.remove, self.all, self.none)
        row = turning_row(page, *buttons)
        self.said = QLabel()
        self.said.setObjectName("compare_said")
        self.said.setWordWrap(True)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(row)
        layout.addWidget(self.tree, 1)
        layout.addWidget(self.said)
        return page

    def _curves_page(self) -> QWidget:
        self.measure, self.axis = QComboBox(), QComboBox()
        self.measure.setObjectName("compare_measure")
        self.axis.setObjectName("compare_axis")
        self.measure.addItems([str(each) for each in Measure])
        self.measure.setCurrentText(str(Measure.MEAN_ERROR))
        self.axis.addItems([str(each) for each in Axis])
        self.over_seeds = QCheckBox("median over seeds")
        self.over_seeds.setObjectName("compare_over_seeds")
        self.over_seeds.setToolTip(
            "One curve for all runs that differ in their seed alone: the median, and the quartiles "
            "as a band"
        )
        for box in (self.measure, self.axis):
            wheel_needs_focus(box)
            box.currentTextChanged.connect(self._draw_curves)
        self.over_seeds.toggled.connect(self._draw_curves)
        return self._page(self.curves, self.measure, QLabel("against"), self.axis, self.over_seeds)

    def _switch_page(self) -> QWidget:
        note = QLabel("Finished runs that know the truth; dots: fixed, stars: auto, dashes: never.")
        note.setWordWrap(True)
        return self._page(self.switch, note)

    def _page(self, view: CurvesView | SwitchView, *widgets: QWidget) -> QWidget:
        page = QWidget()
        save = SaveButtons(view, page)
        save.message.connect(self.message)
        row = QHBoxLayout()
        for widget in widgets:
            row.addWidget(widget)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(2)
        layout.addLayout(turning_box(page, (row, 0), (save, 1), wide=_ROOM))
        layout.addWidget(view, 1)
        return page

    def _read(self) -> None:
        paths = list(self._paths)
        self._reader.submit(lambda: read_records(paths))

    @Slot()
    def _look_again(self) -> None:
        """Look again where runs are compared that have not ended."""
        if self.isVisible() and self._paths and not all(one.finished for one in self._records):
            self._read()

    @Slot(object)
    def _on_read(self, found: tuple[list[RunRecord], list[str]]) -> None:
        records, notes = found
        if notes:
            self.message.emit(" ".join(notes))
        # what has not changed is not drawn again
        if records == self._records:
            return
        self._records = records
        self.tree.show_tree(tree_of(records))
        self._say()

    @Slot(str)
    def _on_failed(self, sentence: str) -> None:
        self.message.emit(sentence)

    def _say(self) -> None:
        if not self._records:
            self.said.setText(_NO_RUNS)
            return
        seen = dict.fromkeys(span.inference for one in self._records for span in one.spans)
        known = [each for each in Inference.registered() if each in seen]
        legend = " ".join(
            f'<span style="color: {stage_colour(each)}">■</span> {each.label}' for each in known
        )
        branched = any(record.parent is not None for record in self._records)
        self.said.setText(f"{legend}{' · dark: its parent’s' if branched else ''}")

    @Slot()
    def _draw(self) -> None:
        compared = self.tree.compared()
        self._draw_curves()
        errors = switch_errors(compared)
        self.switch.show_errors(errors, [head_colour(place) for place in range(len(errors))])
        self.table.show_rows(*table_of(compared))
        self.maps.set_runs(compared)

    @Slot()
    def _draw_curves(self, *_: object) -> None:
        compared = self.tree.compared()
        measure, axis = Measure(self.measure.currentText()), Axis(self.axis.currentText())
        if self.over_seeds.isChecked():
            drawn = [
                (
                    spread_of(name, [curve_of(one, measure, axis) for one in group]),
                    self.tree.colour(group[0]),
                )
                for name, group in groups_of(compared).items()
            ]
        else:
            drawn = [(curve_of(one, measure, axis), self.tree.colour(one)) for one in compared]
        self.curves.show_curves(measure, axis, drawn)

    @Slot()
    def _on_add(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Choose a run, or an experiment")
        if name:
            self.add(Path(name))

    @Slot()
    def _on_shown(self) -> None:
        folder = self._session.folder
        if folder is None:
            self.message.emit("This window shows no run yet: open one, or start one.")
        else:
            self.add(folder)

    @Slot()
    def _on_all(self) -> None:
        self.tree.select_all(True)

    @Slot()
    def _on_none(self) -> None:
        self.tree.select_all(False)

    @Slot()
    def _on_remove(self) -> None:
        """Leave the selected runs out; those of an experiment stay named one by one."""
        gone = {record.folder for record in self.tree.selected()}
        if not gone:
            self.message.emit("Select the runs to remove in the tree first.")
            return
        self._paths = [one.folder for one in self._records if one.folder not in gone]
        self._records = [one for one in self._records if one.folder not in gone]
        self.tree.show_tree(tree_of(self._records))
        self._say()


def _button(text: str, name: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(f"compare_{name}")
    button.setToolTip(tip)
    return button
