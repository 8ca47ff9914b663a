"""The posterior explorer: a dock of its own, with one chosen particle for all views."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSize, Qt, QTimer, Slot
from qtpy.QtWidgets import (
    QBoxLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cryospin.engine.run.pace import duration
from napari_cryospin.gui.canvas.sphere_layers import SphereLayers
from napari_cryospin.gui.colours import class_label
from napari_cryospin.gui.explorer.branch_button import BranchButton
from napari_cryospin.gui.explorer.candidates_panel import CandidatesPanel
from napari_cryospin.gui.explorer.classes_panel import ClassesPanel
from napari_cryospin.gui.explorer.heads_panel import HeadsPanel
from napari_cryospin.gui.explorer.outliers_panel import OutliersPanel
from napari_cryospin.gui.explorer.particles_panel import ParticlesPanel
from napari_cryospin.gui.explorer.pose_panel import PosePanel
from napari_cryospin.gui.explorer.posterior_feed import PosteriorFeed
from napari_cryospin.gui.explorer.posterior_on_canvas import PosteriorOnCanvas
from napari_cryospin.gui.explorer.state import Explorer
from napari_cryospin.gui.explorer.survey_panel import SurveyPanel
from napari_cryospin.gui.explorer.trail_reader import TrailReader
from napari_cryospin.gui.explorer.views_panel import ViewsPanel
from napari_cryospin.gui.views.flowing import turning_box
from napari_cryospin.gui.views.particle_spin import ParticleSpin
from napari_cryospin.gui.views.still import StillLine
from napari_cryospin.gui.work.one_by_one import OneByOne

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.gui.explorer.posterior_worker import (
        PosteriorFailure,
        PosteriorResult,
        PosteriorsFactory,
    )
    from napari_cryospin.gui.work.session import Session


class PosteriorPanel(QWidget):
    """Chooses a particle and an epoch, and shows them in tabs and on the canvas.

    Parameters
    ----------
    session
        Where the stack, the map and the poses come from.
    viewer
        Where the spheres are drawn.
    factory
        Makes the posterior explorer of a stack.
    """

    def __init__(
        self,
        session: Session,
        viewer: ViewerModel,
        parent: QWidget | None = None,
        *,
        factory: PosteriorsFactory | None = None,
    ) -> None:
        super().__init__(parent)
        self.explorer = Explorer(session, self)
        self.explorer.message.connect(session.message)
        self.layers = SphereLayers(viewer, self)
        self.feed = PosteriorFeed(self.explorer, self._wanted, self, factory=factory)
        self._spheres = PosteriorOnCanvas(self.explorer, self.feed, self.layers, viewer, self)
        self.trails = TrailReader(self.explorer, self)
        # the answer that each page shows
        self._seen: dict[QWidget, PosteriorResult] = {}
        self._pieces = OneByOne(self)
        self._build()
        self._connect()

    @property
    def particle(self) -> int:
        """Index of the chosen particle in the working stack, from 0."""
        return self.explorer.particle

    def minimumSizeHint(self) -> QSize:
        """Ask for the width at which all that stands side by side has turned."""
        return QSize(_NARROWEST, super().minimumSizeHint().height())

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what happened while the panel was hidden."""
        super().showEvent(event)
        self._show_in_view()
        self.feed.refresh()
        self._ask_trail()
        self._say_age()

    def _build(self) -> None:
        self.pose = PosePanel(self.explorer, self._pieces)
        self.candidates = CandidatesPanel(self.explorer)
        self.particles = ParticlesPanel(self.explorer)
        self.outliers = OutliersPanel(self.explorer)
        self.classes = ClassesPanel(self.explorer)
        self.heads = HeadsPanel(self.explorer, self.layers)
        self.views = ViewsPanel(self.explorer)
        self.survey = SurveyPanel(self.explorer)
        self.tabs = QTabWidget(self)
        self.tabs.setObjectName("explorer_tabs")
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        for name, panel in (
            ("Pose", self.pose),
            ("Candidates", self.candidates),
            ("Particles", self.particles),
            ("Outliers", self.outliers),
            ("Classes", self.classes),
            ("Heads", self.heads),
            ("Views", self.views),
            ("Data set", self.survey),
        ):
            self.tabs.addTab(panel, name)
        self._show_classes()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(2)
        parts = (self._chooser(), 0), (self._time(), 1), (self._buttons(), 0)
        top = turning_box(self, *parts, wide=_WIDE)
        # the window remembers how low the panel can be before it is as wide as it will be
        top.setDirection(QBoxLayout.Direction.LeftToRight)
        layout.addLayout(top)
        layout.addWidget(StillLine(self.age))
        layout.addWidget(self.tabs, 1)
        self._set_numbers()
        self._on_recorded([])

    def _chooser(self) -> QHBoxLayout:
        self.spin = ParticleSpin(self)
        self.of = QLabel(self)
        self.previous, self.next = QToolButton(self), QToolButton(self)
        self.previous.setText("◀")
        self.previous.setToolTip("Previous particle")
        self.previous.clicked.connect(self.spin.stepDown)
        self.next.setText("▶")
        self.next.setToolTip("Next particle")
        self.next.clicked.connect(self.spin.stepUp)
        self.random = QPushButton("Random", self)
        self.random.clicked.connect(self._choose_random)
        self.give_back = QPushButton("Camera back", self)
        self.give_back.setToolTip("Look from where you looked before a click on a sphere")
        self.give_back.setEnabled(False)
        self.give_back.clicked.connect(self.layers.turner.give_back)
        row = QHBoxLayout()
        for widget in (QLabel("Particle", self), self.previous, self.spin, self.next, self.of):
            row.addWidget(widget)
        row.addStretch()
        row.addWidget(self.random)
        return row

    def _time(self) -> QHBoxLayout:
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setToolTip("Recorded epochs; at the right end: live")
        self.slider.setPageStep(1)
        self.slider.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.slider.setTickInterval(1)
        self.age = QLabel(self)
        self.age.setObjectName("explorer_age")
        self._ageing = QTimer(self)
        self._ageing.setInterval(_AGE_INTERVAL_MS)
        self._ageing.timeout.connect(self._say_age)
        self.when = QLabel(self)
        self.when.setMinimumWidth(self.when.fontMetrics().horizontalAdvance("reading epoch 000 …"))
        row = QHBoxLayout()
        for widget, stretch in ((QLabel("Epoch", self), 0), (self.slider, 1), (self.when, 0)):
            row.addWidget(widget, stretch)
        return row

    def _buttons(self) -> QHBoxLayout:
        self.branch = BranchButton(self.explorer, self)
        row = QHBoxLayout()
        row.addWidget(self.branch, 1)
        row.addWidget(self.give_back, 1)
        return row

    def _connect(self) -> None:
        explorer = self.explorer
        self.spin.chosen.connect(explorer.choose)
        self.slider.valueChanged.connect(self._on_slider)
        self.layers.turner.turned_changed.connect(self.give_back.setEnabled)
        explorer.run_changed.connect(self._on_run_changed)
        explorer.particle_changed.connect(self._on_particle_changed)
        explorer.volume_changed.connect(self._on_volume_changed)
        explorer.poses_changed.connect(self._on_poses_changed)
        explorer.recorded_changed.connect(self._on_recorded)
        explorer.epoch_changed.connect(self._on_epoch_changed)
        self.feed.ready.connect(self._on_ready)
        self.feed.failed.connect(self._on_failed)
        self.feed.asked.connect(self._say_age)
        explorer.session.state_changed.connect(self._say_age)
        # drawn together with what a batch changes: every drawing of the window takes a moment
        explorer.session.batch_done.connect(self._say_age)
        self.trails.ready.connect(self.pose.show_trail)
        self.tabs.currentChanged.connect(self._on_tab)
        self.classes.select_asked.connect(self._on_class_selected)
        self.classes.drop_asked.connect(self.particles.table.drop_asked)
        self.classes.take_back_asked.connect(self.particles.take_back)
        self.classes.save_asked.connect(self.particles.table.save_asked)

    def _show_classes(self) -> None:
        """Let the tab of the classes be there where there are several."""
        place, several = self.tabs.indexOf(self.classes), self.explorer.n_classes > 1
        if self.tabs.isTabVisible(place) != several:
            self.tabs.setTabVisible(place, several)

    @Slot(object)
    def _on_class_selected(self, particles: NDArray[np.int64]) -> None:
        self.tabs.setCurrentWidget(self.particles)
        self.particles.show_selected(particles)

    def _set_numbers(self) -> None:
        numbers = self.explorer.numbers
        self.spin.set_numbers(numbers)
        self.of.setText(f"of {numbers[-1]:,}" if len(numbers) else "")
        for widget in (self.previous, self.next, self.random):
            widget.setEnabled(len(numbers) > 0)

    def _wanted(self) -> bool:
        looked_at = self.tabs.currentWidget() in (self.pose, self.candidates)
        # the spheres appear with the first map, whichever tab is open
        first = self.feed.result is None
        return first or (self.isVisible() and looked_at) or self.layers.posterior_shown

    @Slot()
    def _choose_random(self) -> None:
        self.spin.choose(int(np.random.default_rng().integers(self.explorer.n_particles)))

    @Slot()
    def _on_run_changed(self) -> None:
        self._seen.clear()
        self._show_classes()
        self.layers.new_run()
        self._set_numbers()
        self._say_age()

    @Slot(int)
    def _on_particle_changed(self, particle: int) -> None:
        self.spin.choose(particle)
        self._ask_trail()

    @Slot(object)
    def _on_volume_changed(self, _volume: object) -> None:
        self._show_classes()
        self._say_when()
        self._say_age()
        if self.explorer.epoch is not None and self.feed.result is not None:
            self.pose.wait_for(self.explorer.epoch)

    @Slot(object)
    def _on_poses_changed(self, _poses: object) -> None:
        # healpy is imported by the first answer, off the main thread
        if self.feed.result is not None:
            self._spheres.mark()

    @Slot(object)
    def _on_recorded(self, epochs: list[int]) -> None:
        self.slider.setEnabled(bool(epochs))
        epoch = self.explorer.epoch
        self.slider.blockSignals(True)
        self.slider.setRange(0, len(epochs))
        self.slider.setValue(len(epochs) if epoch is None else epochs.index(epoch))
        self.slider.blockSignals(False)
        self._say_when()
        if epoch is None and self.pose.isVisible():
            self.trails.ask()

    @Slot(int)
    def _on_slider(self, place: int) -> None:
        recorded = self.explorer.recorded
        self.explorer.show_epoch(recorded[place] if place < len(recorded) else None)

    @Slot(object)
    def _on_epoch_changed(self, _epoch: int | None) -> None:
        self._say_when()
        self._ask_trail()

    def _ask_trail(self) -> None:
        if self.pose.isVisible():
            self.trails.ask(soon=True)

    def _say_when(self) -> None:
        epoch, shown = self.explorer.epoch, self.explorer.volume
        if epoch is None:
            self.when.setText("live")
        elif shown is None or shown.epoch != epoch:
            self.when.setText(f"reading epoch {epoch + 1} …")
        else:
            self.when.setText(f"epoch {epoch + 1} of {len(self.explorer.recorded)}")

    @Slot(int)
    def _on_tab(self, _index: int) -> None:
        self._show_in_view()
        self.feed.refresh()
        self._ask_trail()

    @Slot(object)
    def _on_ready(self, _result: PosteriorResult) -> None:
        self._show_in_view()
        # the canvas takes as long as a page
        self._pieces.add(self._spheres.draw)
        self._say_age()

    def _show_in_view(self) -> None:
        """Bring the page that is looked at up to date; others are when they are looked at."""
        result = self.feed.result
        for page in (self.pose, self.candidates):
            if result is not None and page.isVisible() and self._seen.get(page) is not result:
                self._seen[page] = result
                page.show_result(result)

    @Slot(object)
    def _on_failed(self, failure: PosteriorFailure) -> None:
        number = self.explorer.number(failure.request.particle)
        self.pose.text.setText(f"No posterior for particle {number}: {failure.message}")
        self._say_age()

    @Slot()
    @Slot(object)
    def _say_age(self, _event: object = None) -> None:
        """Say which map the shown posterior is of, how old that is, and whether one is to come."""
        shown = None if self.feed.result is None else self.feed.result.request
        parts = []
        if shown is not None:
            several = len(shown.volume.maps) > 1
            of_class = f"class {class_label(shown.of_class)} in " if several else ""
            parts.append(f"Posterior against the map of {of_class}epoch {shown.volume.epoch + 1}")
            live = self.explorer.epoch is None and self.explorer.session.active
            if live:
                parts.append(f"{duration(time.monotonic() - shown.asked)} ago")
            present = self.explorer.volume
            if live and present is not None and present.epoch > shown.volume.epoch:
                parts.append(f"<b>training is in epoch {present.epoch + 1}</b>")
        if self.feed.lacks_map is not None:
            parts.append(f"<b>there is no map of class {class_label(self.feed.lacks_map)}</b>")
        if self.feed.service.busy:
            parts.append("<b>computing …</b>")
        self.age.setText(" · ".join(parts))
        # what is said of seconds goes on while somebody looks
        self._ageing.start() if self.isVisible() else self._ageing.stop()


# pixels
_NARROWEST = 340
# from which on particle, epoch and buttons stand side by side
_WIDE = 720
# how often what is said of seconds is said anew, where no batch comes
_AGE_INTERVAL_MS = 1500
