"""The cryoSPIN dock: tabs for data, training, monitor and results; the Run box below.

The posterior explorer is a dock of its own, which the main one opens.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from qtpy.QtCore import QSize, Slot
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_cryospin.engine.data.simulated_names import TABLE
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.demo import demo_settings
from napari_cryospin.engine.runfolder import names
from napari_cryospin.gui.arrangement import Arrangement
from napari_cryospin.gui.canvas.layers import VolumeLayer
from napari_cryospin.gui.explorer.class_chooser import ClassChooser
from napari_cryospin.gui.explorer.posterior_panel import PosteriorPanel
from napari_cryospin.gui.laboratory.compare_panel import ComparePanel
from napari_cryospin.gui.laboratory.experiments_panel import ExperimentsPanel
from napari_cryospin.gui.panels.data_panel import DataPanel
from napari_cryospin.gui.panels.monitor_panel import MonitorPanel
from napari_cryospin.gui.panels.results_panel import ResultsPanel
from napari_cryospin.gui.panels.run_panel import RunPanel
from napari_cryospin.gui.panels.training_panel import TrainingPanel, spare_threads
from napari_cryospin.gui.work.closing import ClosingGuard
from napari_cryospin.gui.work.experiment_queue import ExperimentQueue
from napari_cryospin.gui.work.sample import Simulation, keep_if_used, sample_folder
from napari_cryospin.gui.work.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    import napari
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.engine.events import Failed

_MINIMUM_WIDTH, _PREFERRED_WIDTH = 340, 400


class CryoSpinDock(QWidget):
    """Everything that cryoSPIN shows and asks, in one dock.

    Parameters
    ----------
    napari_viewer
        The viewer that the layers are made in.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.session = Session(self)
        self.queue = ExperimentQueue(self.session, spare_threads())
        self.data = DataPanel(self.session)
        self.training = TrainingPanel(self.session)
        self.monitor = MonitorPanel(self.session)
        self.posterior = PosteriorPanel(self.session, napari_viewer)
        self.classes = ClassChooser(self.posterior.explorer)
        self.results = ResultsPanel(self.session)
        self.posterior.explorer.class_changed.connect(self.results.show_class)
        self.experiments = ExperimentsPanel(self.session, self.queue)
        # in this dock until it is asked for in one of its own
        self.compare = ComparePanel(self.session, napari_viewer, self)
        self.compare.hide()
        self.run = RunPanel(self.session)
        self.volume = VolumeLayer(self.session, self.posterior.explorer, napari_viewer)
        self.closing = ClosingGuard(self.session, self, self.queue)
        self.arrangement = Arrangement(napari_viewer, self, self.posterior, self.compare)
        self._simulation = Simulation(self)
        # seed of the demo that is being simulated, None where it is the sample
        self._demo: int | None = None
        self._build()
        self.run.start_asked.connect(self._on_start)
        self.session.run_started.connect(self._on_run_started)
        self.session.run_opened.connect(self._on_run_started)
        self.session.failed.connect(self._on_failed)
        self.queue.changed.connect(self._on_queue)
        self.queue.changed.connect(self.run.show_held)
        self.experiments.compare_asked.connect(self._on_compare)
        self._simulation.done.connect(self._on_simulated)
        self._simulation.message.connect(self.session.message)
        # as the window opens: later all would wait for Python to look through what this has made
        gc.collect()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Watch over the window and the dock that this is shown in."""
        super().showEvent(event)
        self.closing.watch()

    def open_path(self, path: Path) -> None:
        """Open a particle table, a stack or a run folder."""
        if path.is_dir():
            self.session.open_run(path)
        else:
            self.tabs.setCurrentWidget(self.data)
            self.data.open(path)

    def start_demo(self, folder: Path, seed: int) -> None:
        """Simulate the sample stack into a folder and reconstruct it there."""
        self._demo = seed
        self._simulation.simulate(folder, seed)

    def open_sample(self) -> None:
        """Simulate the sample stack in the background, and open it."""
        self._demo = None
        self.tabs.setCurrentWidget(self.data)
        self._simulation.simulate(sample_folder(), reuse=True)

    def _build(self) -> None:
        self.tabs = QTabWidget()
        self.tabs.setObjectName("cryospin_tabs")
        for name, panel in (
            ("Data", self.data),
            ("Training", self.training),
            ("Monitor", self.monitor),
            ("Results", self.results),
            ("Experiments", self.experiments),
        ):
            self.tabs.addTab(panel, name)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.classes)
        layout.addLayout(self._openers())
        layout.addWidget(line)
        layout.addWidget(self.run)
        self.setMinimumWidth(_MINIMUM_WIDTH)

    def _openers(self) -> QHBoxLayout:
        self.open_posterior = QPushButton("Pose posteriors")
        self.open_posterior.setObjectName("open_posterior")
        self.open_posterior.setCheckable(True)
        self.open_posterior.setToolTip(
            "The explorer of poses: the posterior of any particle, heads, views, the whole data set"
        )
        self.open_posterior.toggled.connect(self.arrangement.show_explorer)
        self.arrangement.explorer_shown.connect(self.open_posterior.setChecked)
        self.open_compare = QPushButton("Compare")
        self.open_compare.setObjectName("open_compare")
        self.open_compare.setCheckable(True)
        self.open_compare.setToolTip("Runs and branches beside each other: tree, curves, maps")
        self.open_compare.toggled.connect(self.arrangement.show_compare)
        self.arrangement.compare_shown.connect(self.open_compare.setChecked)
        self.show_layers = QPushButton("Show layers")
        self.show_layers.setObjectName("show_layers")
        self.show_layers.setToolTip("Bring back the map and the spheres where they were deleted")
        self.show_layers.clicked.connect(self._on_show_layers)
        row = QHBoxLayout()
        row.setContentsMargins(6, 0, 6, 0)
        for button in (self.open_posterior, self.open_compare, self.show_layers):
            row.addWidget(button, button.sizeHint().width())
        return row

    def sizeHint(self) -> QSize:
        """Ask for a narrow dock: the canvas needs the room."""
        return QSize(_PREFERRED_WIDTH, 700)

    @Slot()
    def _on_show_layers(self) -> None:
        self.volume.bring_back()
        self.posterior.layers.bring_back()

    @Slot()
    def _on_queue(self) -> None:
        # its runs may be looked at or resumed later
        for item in self.queue.items:
            for stack in item.experiment.stack:
                keep_if_used(stack)

    @Slot(object)
    def _on_compare(self, folder: Path) -> None:
        self.arrangement.show_compare(True)
        self.compare.add(folder)

    @Slot()
    def _on_start(self) -> None:
        self.data.load_what_is_named()
        table = self.session.table
        if table is None:
            self.session.message.emit(self.session.no_table)
            return
        try:
            settings = self.training.settings(
                table.source,
                self.data.passthrough_path,
                self.data.datadir_path,
            )
            if (self.training.folder / names.SETTINGS).exists():
                # the form still names the last run's
                self.training.suggest_folder()
        except InputError as error:
            self.session.message.emit(str(error))
            return
        self.session.start(settings, self.training.folder)

    @Slot(object)
    def _on_run_started(self, _event: object) -> None:
        # who is looking at results already stays there
        if self.tabs.currentWidget() in (self.data, self.training):
            self.tabs.setCurrentWidget(self.monitor)
        if self.session.settings is not None:
            keep_if_used(self.session.settings.data.stack)
        particles = self.session.particles
        if particles is not None and particles.set_aside.warning:
            show_warning(particles.set_aside.warning)

    @Slot(object)
    def _on_failed(self, event: Failed) -> None:
        show_warning(event.message)

    @Slot(object)
    def _on_simulated(self, folder: Path) -> None:
        if self._demo is None:
            self.data.open(folder / TABLE)
            return
        settings = demo_settings(folder, self._demo)
        settings.threads = spare_threads()
        self.training.show_settings(settings)
        self.data.open(folder / TABLE)
        self.training.run_folder.value = folder / "run"
        self.session.start(settings, folder / "run")
