"""The Data tab: choose a particle stack, see what was understood of it, and look at particles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize, Qt, Slot
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_cryospin.gui.describe import describe_table
from napari_cryospin.gui.views.scrolling import scrolling_layout, wheel_needs_focus
from napari_cryospin.gui.work.background import Background

if TYPE_CHECKING:
    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.gui.work.session import Session

_FILTER = "Particles (*.star *.cs *.mrcs *.mrc *.st);;All files (*)"
_WELCOME = (
    "Choose a RELION .star file, a cryoSPARC .cs file or a bare .mrcs stack, or drop one on napari."
)
# pixels, where there is little room
_PREVIEW_HEIGHT = 140


class _Canvas(pg.GraphicsLayoutWidget):
    """As high as there is room for, not as high as the image would like to be."""

    def sizeHint(self) -> QSize:
        return QSize(_PREVIEW_HEIGHT, _PREVIEW_HEIGHT)


class DataPanel(QWidget):
    """Shows the session's particle table and previews its images.

    Parameters
    ----------
    session
        Is told which file to read.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._read = ("", "", "")
        self._build()
        self._reader = Background(self)
        self._reader.done.connect(self._on_image)
        self._reader.failed.connect(self._on_no_image)
        session.table_changed.connect(self._on_table)
        session.table_cleared.connect(self._on_no_table)
        session.run_started.connect(self._show_notes)
        session.run_opened.connect(self._show_notes)

    def open(self, path: Path) -> None:
        """Read a particle table or stack."""
        if str(path) != self.path.text():
            # the folder of images belongs to one table
            self.datadir.clear()
        self.path.setText(str(path))
        self._load()

    @Slot()
    def load_what_is_named(self) -> None:
        """Read the files that the fields name, where they are not those that were read last."""
        if self._named() != self._read:
            self._load()

    @property
    def passthrough_path(self) -> Path | None:
        """The passthrough file, where one was chosen for a .cs table."""
        text = self.passthrough.text().strip()
        return Path(text) if text and self._is_cs() else None

    @property
    def datadir_path(self) -> Path | None:
        """The folder to look for images in first, where one was chosen."""
        text = self.datadir.text().strip()
        return Path(text) if text else None

    def _build(self) -> None:
        self.path = self._file_edit("data_path", "RELION .star, cryoSPARC .cs or bare .mrcs stack")
        self.passthrough = self._file_edit(
            "data_passthrough", "cryoSPARC passthrough .cs file, where the table needs one"
        )
        self.datadir = self._file_edit(
            "data_datadir", "Folder that holds the images, where they are not where the table says"
        )
        self.datadir.setPlaceholderText("where the table says")
        self.browse, self.browse_passthrough = QPushButton("Browse…"), QPushButton("Browse…")
        self.browse_datadir = QPushButton("Browse…")
        self.browse_datadir.clicked.connect(self._on_browse_datadir)
        self.browse.setObjectName("data_browse")
        self.browse.clicked.connect(self._on_browse)
        self.browse_passthrough.clicked.connect(self._on_browse_passthrough)
        self._passthrough_label = QLabel("Passthrough")
        files = QGridLayout()
        files.addWidget(QLabel("Particles"), 0, 0)
        files.addWidget(self.path, 0, 1)
        files.addWidget(self.browse, 0, 2)
        files.addWidget(self._passthrough_label, 1, 0)
        files.addWidget(self.passthrough, 1, 1)
        files.addWidget(self.browse_passthrough, 1, 2)
        files.addWidget(QLabel("Images in"), 2, 0)
        files.addWidget(self.datadir, 2, 1)
        files.addWidget(self.browse_datadir, 2, 2)
        self.table = _fact_table()
        self.notes = QLabel(_WELCOME)
        self.notes.setObjectName("data_notes")
        self.notes.setWordWrap(True)
        layout = scrolling_layout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addLayout(files)
        layout.addWidget(self.notes)
        layout.addWidget(self.table)
        layout.addLayout(self._preview_bar())
        layout.addWidget(self._preview(), 1)
        self._show_passthrough()

    def _file_edit(self, name: str, tip: str) -> QLineEdit:
        edit = QLineEdit()
        edit.setObjectName(name)
        edit.setToolTip(tip)
        edit.returnPressed.connect(self._load)
        # what was read before must not stand under a new name
        edit.editingFinished.connect(self.load_what_is_named)
        return edit

    def _preview_bar(self) -> QHBoxLayout:
        self.particle = QSpinBox()
        self.particle.setObjectName("data_particle")
        self.particle.setToolTip("Row of the particle table, from 1")
        self.particle.setKeyboardTracking(False)
        self.particle.setEnabled(False)
        self.particle.valueChanged.connect(self._show_particle)
        wheel_needs_focus(self.particle)
        self.of = QLabel()
        row = QHBoxLayout()
        row.addWidget(QLabel("Preview of particle"))
        row.addWidget(self.particle)
        row.addWidget(self.of)
        row.addStretch()
        return row

    def _preview(self) -> QWidget:
        canvas = _Canvas()
        canvas.setBackground(None)
        canvas.setMinimumHeight(_PREVIEW_HEIGHT)
        view = canvas.addViewBox(
            lockAspect=True, enableMouse=False, enableMenu=False, invertY=True, defaultPadding=0
        )
        self.image = pg.ImageItem(axisOrder="row-major")
        view.addItem(self.image)
        widget: QWidget = canvas
        return widget

    def _is_cs(self) -> bool:
        return self.path.text().strip().lower().endswith(".cs")

    def _show_passthrough(self) -> None:
        for widget in (self._passthrough_label, self.passthrough, self.browse_passthrough):
            widget.setVisible(self._is_cs())

    @Slot()
    def _load(self) -> None:
        self._show_passthrough()
        self._read = self._named()
        text = self.path.text().strip()
        if text:
            self._session.load(Path(text), self.passthrough_path, self.datadir_path)

    def _named(self) -> tuple[str, str, str]:
        passthrough = self.passthrough.text().strip() if self._is_cs() else ""
        return self.path.text().strip(), passthrough, self.datadir.text().strip()

    @Slot()
    def _on_browse(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Choose particles", self.path.text(), _FILTER)
        if name:
            self.open(Path(name))

    @Slot()
    def _on_browse_passthrough(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Choose the passthrough file", self.path.text(), "cryoSPARC tables (*.cs)"
        )
        if name:
            self.passthrough.setText(name)
            self._load()

    @Slot()
    def _on_browse_datadir(self) -> None:
        name = QFileDialog.getExistingDirectory(
            self, "Choose the folder of images", self.datadir.text() or self.path.text()
        )
        if name:
            self.datadir.setText(name)
            self._load()

    @Slot(object)
    def _on_table(self, table: ParticleTable) -> None:
        self.path.setText(str(table.source))
        self._show_passthrough()
        self._read = self._named()
        facts = describe_table(table)
        self.table.setRowCount(len(facts))
        for row, pair in enumerate(facts):
            for column, text in enumerate(pair):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                self.table.setItem(row, column, item)
        self.table.setVisible(True)
        self._say(table.notes)
        self.of.setText(f"of {table.n_particles:,}")
        self.particle.setEnabled(True)
        self.particle.setRange(1, table.n_particles)
        self._show_particle()

    @Slot(str)
    def _on_no_table(self, why: str) -> None:
        """Show nothing of the table before."""
        self.table.setRowCount(0)
        self.table.setVisible(False)
        self._reader.drop()
        self.image.clear()
        self.of.setText("")
        self.particle.setEnabled(False)
        self._say((why,))

    @Slot(object)
    def _show_notes(self, _run: object) -> None:
        """Show what was said of the images, now that all have been looked at."""
        particles, table = self._session.particles, self._session.table
        # another table may have been chosen while they were looked at
        same = (
            particles is not None and table is not None and particles.table.source == table.source
        )
        if particles is not None and (same or not self.path.text()):
            self._say(particles.notes)

    def _say(self, notes: tuple[str, ...]) -> None:
        self.notes.setText("\n".join(notes))
        self.notes.setVisible(bool(notes))

    @Slot()
    def _show_particle(self) -> None:
        table, row = self._session.table, self.particle.value() - 1
        if table is None:
            return

        def task() -> np.ndarray:
            from napari_cryospin.engine.data.stack import StackReader

            image: np.ndarray = StackReader(table).read(np.array([row]))[0]
            return image

        self._reader.submit(task)

    @Slot(object)
    def _on_image(self, image: np.ndarray) -> None:
        finite = image[np.isfinite(image)]
        levels = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
        self.image.setImage(image, levels=tuple(levels))

    @Slot(str)
    def _on_no_image(self, sentence: str) -> None:
        self.image.clear()
        self.notes.setText(sentence)
        self.notes.setVisible(True)


def _fact_table() -> QTableWidget:
    table = QTableWidget(0, 2)
    table.setObjectName("data_table")
    table.horizontalHeader().hide()
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(22)
    table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
    table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
    table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
    table.setMinimumHeight(10 * 22 + 4)
    table.setVisible(False)
    return table
