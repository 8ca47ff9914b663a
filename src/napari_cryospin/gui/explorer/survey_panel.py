"""The Data set tab of the explorer: how sure the poses are over the epochs, and how rightly."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Slot
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.explorer.of_classes import rows_of_class, told_of_class
from napari_cryospin.gui.views.export import SaveButtons
from napari_cryospin.gui.views.flowing import turning_box
from napari_cryospin.gui.views.scrolling import scrolling_layout
from napari_cryospin.gui.views.survey_views import (
    CoverageView,
    HeadCoverageView,
    ModesOverEpochs,
    ReliabilityView,
    SurveyPlot,
    WeightsView,
)
from napari_cryospin.gui.work.long_task import LongTask
from napari_cryospin.gui.work.resting_timer import RestingTimer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.events import PosesUpdated, VolumeUpdated
    from napari_cryospin.engine.run.survey import EpochSurvey
    from napari_cryospin.gui.explorer.state import Explorer
    from napari_cryospin.gui.work.long_task import Report

# while a run trains a survey is followed by a rest this many times as long
_REST = 25
# the refinement goes on until a posterior is resolved
_DEPTH, _ENOUGH = 1024, 100


class SurveyPanel(QWidget):
    """Multimodal particles, the heads as a posterior, and the truth, by epoch; calibration.

    Epochs that were not looked at yet are worked through, one after the other, while in view.

    Parameters
    ----------
    explorer
        What is looked at.
    """

    def __init__(self, explorer: Explorer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self.surveys: dict[int, EpochSurvey] = {}
        self._failed: set[int] = set()
        self._build()
        self.task = LongTask("cryospin-survey", self)
        self.task.progressed.connect(self._on_progress)
        self.task.done.connect(self._on_survey)
        self.task.failed.connect(self._on_survey_failed)
        self.calibration = LongTask("cryospin-calibration", self)
        self.calibration.progressed.connect(self._on_calibration_progress)
        self.calibration.done.connect(self._on_levels)
        self.calibration.failed.connect(self._on_calibration_failed)
        self._present: int | None = None
        self._since = 0.0
        self._timer = RestingTimer(0, _REST, self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._next)
        explorer.run_changed.connect(self._on_run_changed)
        explorer.recorded_changed.connect(self._on_recorded)
        explorer.class_changed.connect(self._on_class_changed)

    def _build(self) -> None:
        self.modes, self.coverage = ModesOverEpochs(self), CoverageView(self)
        self.head_coverage, self.weights = HeadCoverageView(self), WeightsView(self)
        self.reliability = ReliabilityView(self)
        self.note = QLabel("", self)
        self.note.setWordWrap(True)
        self.bar = QProgressBar(self)
        self.bar.setVisible(False)
        self.measure = QPushButton("Measure calibration", self)
        self.measure.setToolTip(
            "Credible sets of 200 particles' refined posteriors: how many hold the true pose?"
        )
        self.measure.clicked.connect(self._on_measure)
        layout = scrolling_layout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(2)
        # above the plots: it tells what is awaited while they are empty
        layout.addWidget(self.bar)
        layout.addWidget(self.note)
        self._columns: dict[QWidget, QWidget] = {}
        over_epochs = [self._column(one) for one in (self.modes, self.head_coverage, self.coverage)]
        calibrations = [self._column(one) for one in (self.weights, self.reliability)]
        layout.addLayout(turning_box(self, *over_epochs), 1)
        layout.addLayout(turning_box(self, *calibrations), 1)
        self._draw()

    def _column(self, view: SurveyPlot | WeightsView | ReliabilityView) -> tuple[QWidget, int]:
        """Return a plot with its buttons below."""
        save = SaveButtons(view, self)
        save.message.connect(self._explorer.message)
        row = QHBoxLayout()
        if view is self.reliability:
            row.addWidget(self.measure)
        row.addStretch()
        row.addWidget(save)
        column = self._columns[view] = QWidget(self)
        layout = QVBoxLayout(column)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(view, 1)
        layout.addLayout(row)
        return column, 1

    def showEvent(self, event: QShowEvent | None) -> None:
        """Work through the epochs that came while the tab was hidden."""
        super().showEvent(event)
        self._next()

    @Slot()
    def _on_run_changed(self) -> None:
        self.surveys, self._failed = {}, set()
        self._present = None
        self.note.setText("")
        self.task.stop()
        self.calibration.stop()
        self.reliability.forget()
        self._draw()

    @Slot(object)
    def _on_class_changed(self, _number: object) -> None:
        self._on_run_changed()
        self._next()

    @Slot(object)
    def _on_recorded(self, _epochs: object) -> None:
        self._next()

    @Slot()
    def _next(self) -> None:
        """Look at the latest epoch that was not looked at yet."""
        if self._timer.isActive():
            return
        explorer = self._explorer
        missing = [e for e in explorer.recorded if e not in self.surveys and e not in self._failed]
        folder, particles, truth = (
            explorer.session.folder,
            explorer.particles,
            explorer.session.truth,
        )
        if not missing or folder is None or particles is None or not self.isVisible():
            return
        epoch, of_class = missing[-1], explorer.surveyed_class

        def task(report: Report) -> EpochSurvey:
            from napari_cryospin.engine.run.survey import survey_epoch
            from napari_cryospin.engine.runfolder.folder import RunFolder

            return survey_epoch(
                RunFolder(folder), epoch, particles, truth, of_class=of_class, progress=report
            )

        if self.task.start(task):
            self._present, self._since = epoch, time.perf_counter()
            if not self.surveys:
                self.note.setText(f"Taking up the map of epoch {epoch + 1} and its noise …")
            self.bar.setRange(0, 0)
            self.bar.setFormat(f"epoch {epoch + 1}, {len(missing)} to go")
            self.bar.setVisible(True)

    @Slot(int, int)
    def _on_progress(self, done: int, total: int) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    @Slot(object)
    def _on_survey(self, survey: EpochSurvey) -> None:
        self.bar.setVisible(False)
        # a survey of the run before may come late
        if survey.epoch == self._present:
            self.surveys[survey.epoch] = survey
            self._draw()
        if self._explorer.session.active:
            self._timer.worked(time.perf_counter() - self._since)
            self._timer.start()
        else:
            self._next()

    @Slot(str)
    def _on_survey_failed(self, sentence: str) -> None:
        self.bar.setVisible(False)
        if self._present is not None:
            self.note.setText(sentence)
            self._failed.add(self._present)
        self._next()

    def _draw(self) -> None:
        ordered = [self.surveys[epoch] for epoch in sorted(self.surveys)]
        self.modes.set_surveys(ordered)
        self.coverage.set_surveys(ordered)
        self.head_coverage.set_surveys(ordered)
        known = any(one.modes_hold_truth is not None for one in ordered)
        weighed = [one for one in ordered if one.weights]
        self.weights.set_survey(weighed[-1] if weighed else None)
        for view, shown in (
            (self.coverage, known),
            (self.head_coverage, bool(weighed)),
            (self.weights, bool(weighed)),
        ):
            self._columns[view].setVisible(shown)
        if ordered:
            self.note.setText(self._of_class() + describe(ordered[-1]))

    def _of_class(self) -> str:
        """Return which class the figures are of, where there are several."""
        explorer = self._explorer
        if explorer.n_classes == 1:
            return ""
        return f"{told_of_class(explorer.surveyed_class)} "

    @Slot()
    def _on_measure(self) -> None:
        if self.calibration.busy:
            self.calibration.stop()
            return
        explorer = self._explorer
        particles, volume, poses = explorer.particles, explorer.volume, explorer.poses
        of_class = explorer.surveyed_class
        if particles is None or volume is None or poses is None or poses.truth_beside is None:
            self.note.setText("Calibration needs a map and the true poses.")
            return

        def task(report: Report) -> NDArray[np.float64]:
            return levels_of(particles, volume, poses, of_class, report)

        if self.calibration.start(task):
            self.measure.setText("Stop")

    @Slot(int, int)
    def _on_calibration_progress(self, done: int, total: int) -> None:
        self.measure.setText(f"Stop ({done} of {total})")

    @Slot(object)
    def _on_levels(self, levels: NDArray[np.float64]) -> None:
        self.measure.setText("Measure calibration")
        self.reliability.set_levels(levels)

    @Slot(str)
    def _on_calibration_failed(self, sentence: str) -> None:
        self.measure.setText("Measure calibration")
        self.note.setText(sentence)


def levels_of(
    particles: Particles,
    volume: VolumeUpdated,
    poses: PosesUpdated,
    of_class: int,
    report: Report,
) -> NDArray[np.float64]:
    """Return the credible levels of the true poses of probe particles, refined until resolved.

    The probes are of one class, from 0, and are compared with its map.
    """
    assert poses.truth is not None
    from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
    from napari_cryospin.engine.posterior.options import PosteriorOptions
    from napari_cryospin.engine.posterior.summary import credible_levels
    from napari_cryospin.engine.run.survey import probe_rows

    posteriors = ParticlePosteriors(particles, PosteriorOptions(depth=_DEPTH, enough=_ENOUGH))
    shifts = poses.shifts / particles.pixel_size
    of = rows_of_class(poses, of_class)
    rows = probe_rows(poses.used if of is None else poses.used & (poses.classes == of_class))
    alive = partial(report, 0, len(rows))
    posteriors.set_volume(volume.maps[of_class], shifts, scales=poses.scales, of=of, alive=alive)
    return credible_levels(posteriors, rows, shifts, poses.truth, progress=report)


def describe(survey: EpochSurvey) -> str:
    """Return the figures of an epoch in words."""
    text = (
        f"Epoch {survey.epoch + 1} ({Inference(survey.inference).label}): "
        f"{100 * survey.multimodal:.0f} % of the particles have more than one mode; "
        f"median entropy {survey.entropy:.2f} nats."
    )
    if survey.multimodal > 0:
        text += (
            f" For {100 * survey.pair_share:.0f} % of them one turn of the map by "
            f"{survey.pair_angle:.0f}° relates the two best modes."
        )
    if survey.coverage is not None and survey.random_coverage is not None:
        text += (
            f" The heads cover {100 * survey.coverage:.0f} % of the posteriors; as many random "
            f"poses would cover {100 * survey.random_coverage:.1f} %."
        )
    return text
