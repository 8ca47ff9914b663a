"""The Particles tab of the explorer: all particles as a table, and what to do with some of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Slot
from qtpy.QtWidgets import (
    QCheckBox,
    QLabel,
    QProgressBar,
    QPushButton,
    QWidget,
)

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.protected import inputs_of, require_not_in_use
from napari_cryospin.gui.explorer.of_classes import rows_of_class
from napari_cryospin.gui.views.export import SaveButtons
from napari_cryospin.gui.views.flowing import turning_row
from napari_cryospin.gui.views.particle_table import ParticleTableView
from napari_cryospin.gui.views.scrolling import scrolling_layout
from napari_cryospin.gui.work.background import Background
from napari_cryospin.gui.work.by_hand import by_hand_of
from napari_cryospin.gui.work.long_task import LongTask
from napari_cryospin.gui.work.saving import ask_where

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.events import PosesUpdated, VolumeUpdated
    from napari_cryospin.engine.posterior.options import PosteriorOptions
    from napari_cryospin.engine.posterior.summary import PosteriorSummary
    from napari_cryospin.gui.explorer.state import Explorer
    from napari_cryospin.gui.work.long_task import Report


class ParticlesPanel(QWidget):
    """Table of particles; choosing a row chooses the particle.

    Loss, disagreement of the heads and pose error follow the run while the table is in view.
    Entropy and modes of all particles are computed on demand, or anew with every epoch.

    Parameters
    ----------
    explorer
        What is looked at.
    """

    def __init__(self, explorer: Explorer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self._posterior_columns: dict[str, NDArray[np.float64]] = {}
        self._stale = True
        # what the user has asked to be used, (n,), since this run is looked at
        self._choice: NDArray[np.bool_] | None = None
        # particles that are to be selected once the table has them
        self._wished: NDArray[np.int64] | None = None
        self._build()
        self._columns = Background(self)
        self._columns.done.connect(self._on_columns)
        self._columns.failed.connect(explorer.message)
        self.task = LongTask("cryospin-summary", self)
        self.task.progressed.connect(self._on_progress)
        self.task.done.connect(self._on_summary)
        self.task.failed.connect(self._on_failed)
        explorer.run_changed.connect(self._on_run_changed)
        explorer.poses_changed.connect(self._on_poses_changed)
        explorer.particle_changed.connect(self.table.choose)
        explorer.session.epoch_done.connect(self._on_epoch_done)

    def _build(self) -> None:
        self.table = ParticleTableView(self)
        self.table.particle_chosen.connect(self._explorer.choose)
        self.table.save_asked.connect(self._on_save)
        self.table.drop_asked.connect(self._on_drop)
        self.table.restore_asked.connect(self._on_restore)
        self._by_hand = self._explorer.session.by_hand
        self.table.buttons.said.connect(self._on_said)
        self.table.buttons.undo_asked.connect(self._by_hand.undo)
        self._by_hand.changed.connect(self._on_by_hand)
        self.compute = QPushButton("Compute entropy and modes", self)
        self.compute.setToolTip("Posteriors of all particles against the shown map")
        self.compute.clicked.connect(self._on_compute)
        self.live = QCheckBox("every epoch", self)
        self.live.setToolTip("Compute them anew after each epoch while this table is in view")
        self.bar = QProgressBar(self)
        self.bar.setVisible(False)
        self.note = QLabel("", self)
        self.note.setWordWrap(True)
        save = SaveButtons(self.table, self)
        save.message.connect(self._explorer.message)
        row = turning_row(self, self.compute, self.live, save)
        layout = scrolling_layout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(3)
        layout.addLayout(row)
        layout.addWidget(self.bar)
        layout.addWidget(self.note)
        layout.addWidget(self.table, 1)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what happened while the table was hidden."""
        super().showEvent(event)
        self._refresh()

    def _refresh(self) -> None:
        poses, numbers = self._explorer.poses, self._explorer.numbers
        if poses is None or not (self._stale and self.isVisible()):
            return
        self._stale = False

        def task() -> dict[str, NDArray[Any]]:
            return columns_of(poses, numbers)

        self._columns.submit(task)

    @Slot()
    def _on_run_changed(self) -> None:
        self._posterior_columns, self._choice, self._wished = {}, None, None
        self.note.setText("")
        self.task.stop()

    @Slot(object)
    def _on_poses_changed(self, _poses: object) -> None:
        self._stale = True
        self._refresh()

    @Slot(object)
    def _on_columns(self, columns: dict[str, NDArray[Any]]) -> None:
        n = len(columns["particle"])
        posterior = {name: x for name, x in self._posterior_columns.items() if len(x) == n}
        self.table.set_columns({**columns, **posterior})
        self.table.choose(self._explorer.particle)
        self._select_wished()

    @Slot(object)
    def _on_epoch_done(self, _done: object) -> None:
        if self.live.isChecked() and self.isVisible():
            self._start()

    @Slot()
    def _on_compute(self) -> None:
        if self.task.busy:
            self.task.stop()
        else:
            self._start()

    def _start(self) -> None:
        explorer = self._explorer
        particles, volume, poses = explorer.particles, explorer.volume, explorer.poses
        if particles is None or volume is None or poses is None:
            self.note.setText("There is no map yet.")
            return
        options = explorer.options

        def task(report: Report) -> tuple[int, PosteriorSummary]:
            return volume.epoch, summary_of(particles, volume, poses, options, report)

        if self.task.start(task):
            self.compute.setText("Stop")
            self.note.setText("Taking up the map and its noise …")
            self.bar.setRange(0, 0)
            self.bar.setVisible(True)

    @Slot(int, int)
    def _on_progress(self, done: int, total: int) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.bar.setFormat("%v of %m particles")

    @Slot(object)
    def _on_summary(self, answer: tuple[int, PosteriorSummary]) -> None:
        epoch, summary = answer
        self._posterior_columns = {
            "entropy": summary.entropy,
            "modes": summary.modes.counts.astype(np.float64),
        }
        several = self._explorer.n_classes > 1
        self._ended(
            f"{'Each against the map of its class, ' if several else 'Map of '}"
            f"epoch {epoch + 1}: {100 * summary.multimodal_share:.0f} % of the particles "
            f"have more than one mode; median entropy {np.median(summary.entropy):.2f} nats."
        )
        self._stale = True
        self._refresh()

    @Slot(str)
    def _on_failed(self, sentence: str) -> None:
        self._ended(sentence)

    def _ended(self, sentence: str) -> None:
        self.compute.setText("Compute entropy and modes")
        self.bar.setVisible(False)
        self.note.setText(sentence)

    @Slot(object)
    def _on_save(self, rows: NDArray[np.int64]) -> None:
        path = ask_where(self, "Save selection", "selection.star", "STAR files (*.star)")
        if path is not None:
            self.save_selection(rows, path)

    def save_selection(self, rows: NDArray[np.int64], path: Path) -> None:
        """Write particles with their present poses as a star file."""
        from napari_cryospin.engine.run.results import write_selection

        particles, poses = self._explorer.particles, self._explorer.poses
        assert particles is not None and poses is not None
        try:
            if path.suffix.lower() != ".star":
                raise InputError(f"{path.name}: selections are saved as .star.")
            require_not_in_use(path, inputs_of(self._explorer.session.settings, particles.table))
            write_selection(path, particles, rows, poses)
        except InputError as error:
            self._explorer.message.emit(str(error))
        except OSError as error:
            self._explorer.message.emit(f"{path} could not be written: {error.strerror}.")
        else:
            self._explorer.message.emit(f"Saved {len(rows):,} particles in {path}.")

    @Slot(object)
    def show_selected(self, particles: NDArray[np.int64]) -> None:
        """Select particles in the table, at once or when it has come; none clears the selection."""
        self._wished = particles
        self._select_wished()

    def _select_wished(self) -> None:
        # a table that has not been looked at yet, or is of another run, is still to be filled
        filled = self.table.model.rowCount() == self._explorer.n_particles
        if self._wished is not None and filled:
            self.table.select(self._wished)
            self._wished = None

    @Slot(object)
    def take_back(self, particles: NDArray[np.int64]) -> None:
        """Use particles in training again."""
        self._choose(particles, wanted=True)

    @Slot(object)
    def _on_drop(self, particles: NDArray[np.int64]) -> None:
        self._choose(particles, wanted=False)

    def _choose(self, particles: NDArray[np.int64], *, wanted: bool) -> None:
        poses, session = self._explorer.session.latest_poses, self._explorer.session
        if poses is None or not session.active:
            self._explorer.message.emit("No run is under way: save the selection instead.")
            return
        # one choice after the other, though the poses tell of none before the next epoch
        used = (poses.used if self._choice is None else self._choice).copy()
        used[particles] = wanted
        try:
            session.set_used(used)
        except ValueError as error:
            self._explorer.message.emit(str(error))
        else:
            self._choice = used

    @Slot(int)
    def _on_said(self, word: int) -> None:
        self._by_hand.say(self.table.selected, word)

    @Slot()
    def _on_by_hand(self) -> None:
        self.table.set_can_undo(self._by_hand.can_undo)

    @Slot()
    def _on_restore(self) -> None:
        poses, session = self._explorer.session.latest_poses, self._explorer.session
        if session.active:
            self._choice = None if poses is None else np.ones_like(poses.used)
            session.set_used(None)
        else:
            self._explorer.message.emit("No run is under way.")


def columns_of(poses: PosesUpdated, numbers: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return the columns that the run's own state gives; imports torch, so off the main thread.

    ``numbers`` are those of the particles, (n,).
    """
    from napari_cryospin.engine.evaluation.views import (
        best_of_heads,
        candidate_disagreement,
        of_heads,
    )
    from napari_cryospin.engine.geometry.rotations import angular_distance

    columns: dict[str, NDArray[Any]] = {
        "particle": numbers,
        "loss": poses.losses,
        "scale": poses.scales,
        "membership": poses.membership,
        "log_likelihood": poses.log_likelihood,
        "explained": poses.explained,
        "used": poses.used,
        "by_hand": by_hand_of(poses),
    }
    if poses.classes is not None and poses.class_weights is not None:
        # no class of who has no pose yet
        known = poses.winner >= 0
        columns["class"] = np.where(known, poses.classes + 1, np.nan)
        own = np.take_along_axis(poses.class_weights, poses.classes[:, None], 1)[:, 0]
        columns["class_probability"] = np.where(known, own, np.nan)
    if poses.n_heads > 1:
        places = best_of_heads(poses.own_losses, poses.candidate_heads, poses.n_heads)
        disagreement = candidate_disagreement(of_heads(poses.candidates, places))
        columns["disagreement"] = np.where(poses.winner >= 0, disagreement, np.nan)
    if poses.truth is not None:
        errors = angular_distance(poses.rotations, poses.truth)
        columns["error"] = (
            errors if poses.has_truth is None else np.where(poses.has_truth, errors, np.nan)
        )
    return columns


def summary_of(
    particles: Particles,
    volume: VolumeUpdated,
    poses: PosesUpdated,
    options: PosteriorOptions,
    report: Report,
) -> PosteriorSummary:
    """Return figures of the posteriors of all particles, each against the map of its class."""
    from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
    from napari_cryospin.engine.posterior.summary import PosteriorSummary, summarise

    posteriors = ParticlePosteriors(particles, options)
    shifts, done = poses.shifts / particles.pixel_size, 0
    classes = np.zeros(particles.n, dtype=np.int64) if poses.classes is None else poses.classes

    def progress(of_class: int, _of: int) -> None:
        report(done + of_class, particles.n)

    parts = []
    for number, map_of_class in enumerate(volume.maps):
        rows = np.flatnonzero(classes == number)
        if not len(rows):
            continue
        posteriors.set_volume(
            map_of_class,
            shifts,
            scales=poses.scales,
            of=rows_of_class(poses, number),
            alive=partial(progress, 0, 0),
        )
        parts.append(summarise(posteriors, rows, shifts, progress))
        done += len(rows)
    return PosteriorSummary.joined(parts)
