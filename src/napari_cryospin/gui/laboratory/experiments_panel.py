"""The Experiments tab: design one, queue it, watch its cells, open and compare them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal, Slot
from qtpy.QtWidgets import (
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.experiments.cells import cells_of
from napari_cryospin.engine.experiments.place import holds_experiment, require_place
from napari_cryospin.engine.experiments.plan import PLAN, Experiment
from napari_cryospin.gui.laboratory.designer import Designer
from napari_cryospin.gui.laboratory.queue_view import QueueView
from napari_cryospin.gui.views.scrolling import scrolling_layout
from napari_cryospin.gui.work.experiment_queue import ExperimentQueue, Queued

if TYPE_CHECKING:
    from napari_cryospin.gui.work.session import Session


class ExperimentsPanel(QWidget):
    """A designer above, the queue below.

    Parameters
    ----------
    session
        Opens the runs of cells.
    queue
        Runs the experiments.

    Attributes
    ----------
    compare_asked
        Emitted with the folder of an experiment whose runs are to be compared.
    """

    compare_asked = Signal(object)

    def __init__(
        self, session: Session, queue: ExperimentQueue, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._queue = session, queue
        self.designer = Designer(session)
        self.view = QueueView(queue)
        layout = scrolling_layout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        self.design = QCollapsible("Design")
        self.design.setObjectName("experiment_design")
        self.design.addWidget(self.designer)
        self.design.addWidget(self._adding())
        self.design.expand(animate=False)
        layout.addWidget(self.design)
        layout.addWidget(self._running(), 1)
        self.suggest_folder()
        self.designer.message.connect(session.message)
        queue.message.connect(session.message)
        queue.changed.connect(self._refresh)
        session.state_changed.connect(self._refresh)
        self.view.chosen.connect(self._refresh)
        self.view.open_asked.connect(self._open_run)
        self._refresh()

    def _adding(self) -> QWidget:
        self.folder = QLineEdit()
        self.folder.setObjectName("experiment_folder")
        self.folder.setToolTip("Folder that gets a run folder per cell, and results.csv")
        self.browse = QToolButton()
        self.browse.setText("…")
        self.browse.setToolTip("Choose a folder; one of an experiment is taken up again")
        self.browse.clicked.connect(self._on_browse)
        self.add = _button("Add to queue", "add", "Run these cells after what is queued already")
        self.add.clicked.connect(self._on_add)
        box = QWidget()
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Folder"))
        row.addWidget(self.folder, 1)
        row.addWidget(self.browse)
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.add)
        return box

    def _running(self) -> QGroupBox:
        box = QGroupBox("Queue")
        column = QVBoxLayout(box)
        column.setSpacing(4)
        self.start = _button("Start", "start", "Run what is queued, one cell after the other")
        self.pause = _button("Pause", "pause", "Let the present cell rest; press again to go on")
        self.cancel = _button(
            "Cancel", "cancel", "End after the present batch: all is kept, Start goes on"
        )
        self.open = _button("Open run", "open", "Show the chosen cell in this window")
        self.compare = _button("Compare", "compare", "Compare the runs of the chosen experiment")
        self.remove = _button(
            "Remove", "remove", "Take the chosen experiment from the list; its folder stays"
        )
        self.start.clicked.connect(self._on_start)
        self.pause.clicked.connect(self._on_pause)
        self.cancel.clicked.connect(self._queue.cancel)
        self.open.clicked.connect(self._on_open)
        self.compare.clicked.connect(self._on_compare)
        self.remove.clicked.connect(self._on_remove)
        self.waits = QLabel()
        self.waits.setObjectName("experiment_waits")
        self.waits.setWordWrap(True)
        column.addLayout(_row((self.start, self.pause, self.cancel)))
        column.addWidget(self.waits)
        column.addWidget(self.view, 1)
        column.addLayout(_row((self.open, self.compare, self.remove)))
        return box

    def suggest_folder(self) -> None:
        """Name a folder that is not there yet."""
        self.folder.setText(str(Path.cwd() / f"experiment-{datetime.now():%Y%m%d-%H%M%S}"))

    def take_up(self, folder: Path) -> None:
        """Show the experiment of a folder, to go on with it."""
        try:
            self.designer.show_experiment(Experiment.from_toml(folder / PLAN))
        except InputError as error:
            self._session.message.emit(str(error))
            return
        self.folder.setText(str(folder))
        self._session.message.emit(
            f"The experiment in {folder.name}: added to the queue it goes on where it ended."
        )

    @Slot()
    def _on_add(self) -> None:
        text = self.folder.text().strip()
        try:
            experiment = self.designer.experiment()
            cells = cells_of(experiment)
            if not text:
                raise InputError("No folder was named: name one for the experiment.")
            folder = Path(text).absolute()
            if self._queue.holds(folder):
                raise InputError(f"{folder.name} is in the queue already: choose another folder.")
            require_place(folder, experiment)
        except InputError as error:
            self._session.message.emit(str(error))
            return
        self._queue.add(Queued(experiment, folder, tuple(cells)))
        self.suggest_folder()

    @Slot()
    def _on_browse(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Choose a folder")
        if not name:
            return
        if holds_experiment(Path(name)):
            self.take_up(Path(name))
        else:
            self.folder.setText(name)

    @Slot()
    def _on_start(self) -> None:
        # the queue is what is looked at now
        self.design.collapse(animate=False)
        self._queue.start()

    @Slot()
    def _on_pause(self) -> None:
        if self._queue.paused:
            self._queue.resume()
        else:
            self._queue.pause()

    @Slot()
    def _on_open(self) -> None:
        run = self.view.chosen_run()
        if run is not None:
            self._open_run(run)

    @Slot(object)
    def _open_run(self, run: Path) -> None:
        self._session.open_run(run)

    @Slot()
    def _on_compare(self) -> None:
        item = self.view.chosen_item()
        if item is not None:
            self.compare_asked.emit(item.folder)

    @Slot()
    def _on_remove(self) -> None:
        item = self.view.chosen_item()
        if item is not None:
            self._queue.remove(item)

    @Slot()
    @Slot(object)
    def _refresh(self, _state: object = None) -> None:
        queue, item = self._queue, self.view.chosen_item()
        self.start.setEnabled(queue.startable and not queue.waits)
        self.pause.setEnabled(queue.active and not queue.stopping)
        self.pause.setText("Resume" if queue.paused else "Pause")
        self.cancel.setEnabled((queue.active and not queue.stopping) or bool(queue.waits))
        self.open.setEnabled(self.view.chosen_run() is not None and not self._session.active)
        self.compare.setEnabled(item is not None and bool(item.results))
        self.remove.setEnabled(item is not None and item is not queue.present)
        self.waits.setText(queue.waits)
        self.waits.setVisible(bool(queue.waits))


def _row(buttons: tuple[QPushButton, ...]) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(4)
    for button in buttons:
        row.addWidget(button, button.sizeHint().width())
    return row


def _button(text: str, name: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(f"experiment_{name}")
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return button
