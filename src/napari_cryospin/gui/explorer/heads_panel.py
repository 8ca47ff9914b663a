"""The Heads tab of the explorer: who wins, over the epochs and over the view sphere."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from qtpy.QtCore import Slot
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QWidget

from napari_cryospin.gui.explorer.of_classes import told_of_class
from napari_cryospin.gui.views.export import SaveButtons
from napari_cryospin.gui.views.flowing import turning_row
from napari_cryospin.gui.views.heads_view import HeadsView
from napari_cryospin.gui.views.scrolling import scrolling_layout
from napari_cryospin.gui.work.background import Background

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.events import PosesUpdated
    from napari_cryospin.engine.run.truth import Truth
    from napari_cryospin.gui.canvas.sphere_layers import SphereLayers
    from napari_cryospin.gui.explorer.state import Explorer

_NSIDE = 4
_LOSS, _ERROR = "mean loss", "mean pose error (°)"
_NO_HEADS = "No stage up to here has an encoder: the heads propose poses in auto-encoding."
_LAST = "The maps are of epoch {}, the last of auto-encoding; since then there is no encoder."


class _Cells(NamedTuple):
    """A figure of each head by view direction, of the poses that were asked for or earlier ones."""

    wanted: PosesUpdated
    shown: PosesUpdated
    folder: Path | None
    values: NDArray[np.floating]
    label: str


class HeadsPanel(QWidget):
    """Assignment histogram per epoch, and each head's mean loss or error by view direction.

    Parameters
    ----------
    explorer
        What is looked at.
    layers
        Where the heads' spheres are drawn on the canvas, when asked for.
    """

    def __init__(
        self, explorer: Explorer, layers: SphereLayers, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._explorer, self._layers = explorer, layers
        self._cells: tuple[NDArray[np.floating], str] | None = None
        self._wanted: PosesUpdated | None = None
        self._last: tuple[Path | None, PosesUpdated] | None = None
        self._build()
        self._background = Background(self)
        self._background.done.connect(self._on_cells)
        self._background.failed.connect(explorer.message)
        explorer.poses_changed.connect(self._on_poses_changed)
        explorer.class_changed.connect(self._on_poses_changed)
        explorer.session.epoch_done.connect(self._on_history)
        explorer.run_changed.connect(self._on_run_changed)

    def _build(self) -> None:
        self.view = HeadsView(self)
        self.figure = QComboBox(self)
        self.figure.addItems([_LOSS, _ERROR])
        self.figure.setToolTip("What the maps of the heads show, by view direction")
        self.figure.currentIndexChanged.connect(self._refresh)
        self.on_canvas = QCheckBox("spheres on the canvas", self)
        self.on_canvas.toggled.connect(self._on_canvas_toggled)
        save = SaveButtons(self.view, self)
        save.message.connect(self._explorer.message)
        row = turning_row(self, self.figure, self.on_canvas, save)
        self.note = QLabel("", self)
        self.note.setWordWrap(True)
        self.note.hide()
        layout = scrolling_layout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(3)
        layout.addLayout(row)
        layout.addWidget(self.note)
        layout.addWidget(self.view, 1)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what happened while the tab was hidden."""
        super().showEvent(event)
        self._on_history()
        self._refresh()

    @Slot(object)
    def _on_poses_changed(self, _poses: object) -> None:
        self._refresh()

    @Slot()
    def _on_run_changed(self) -> None:
        self._forget()
        self.view.clear()
        self._on_history()

    def _say(self, note: str) -> None:
        self.note.setText(note)
        self.note.setVisible(bool(note))

    def _encoding_epoch(self) -> int | None:
        """Return the last recorded epoch of auto-encoding up to the shown one, if there was any."""
        explorer = self._explorer
        shown = explorer.epoch
        return max(
            (
                done.epoch
                for done in explorer.session.history
                if done.inference.has_heads
                and done.epoch in explorer.recorded
                and (shown is None or done.epoch <= shown)
            ),
            default=None,
        )

    def _forget(self) -> None:
        """Drop the maps of the heads, and an answer that is still to come."""
        self._cells, self._wanted = None, None
        self._layers.hide_head_cells()
        self.view.clear_cells()

    @Slot()
    @Slot(object)
    def _on_history(self, _event: object = None) -> None:
        history = self._explorer.session.history
        encoding = [done for done in history if done.inference.has_heads]
        if not (self.isVisible() and encoding):
            return
        # a branch may have another number of heads than the run that it comes from
        shares = np.zeros((len(encoding), max(len(done.head_share) for done in encoding)))
        for row, done in zip(shares, encoding, strict=True):
            row[: len(done.head_share)] = done.head_share
        self.view.set_history(
            np.array([done.epoch for done in encoding]),
            shares,
            [
                before.end
                for before, after in itertools.pairwise(history)
                if before.inference.has_heads != after.inference.has_heads
            ],
        )

    @Slot()
    @Slot(int)
    def _refresh(self, _index: int = 0) -> None:
        explorer = self._explorer
        poses = explorer.poses
        if poses is None or not (self.isVisible() or self.on_canvas.isChecked()):
            return
        wanted, session = self.figure.currentText(), explorer.session
        self._wanted, known, folder = poses, self._last, session.folder
        particles, truth = explorer.particles, session.truth
        spoken = poses.n_heads > 0 and bool((poses.winner >= 0).any())
        earlier = None if poses.inference.has_heads and spoken else self._encoding_epoch()
        if earlier is None and not poses.inference.has_heads:
            self._say(_NO_HEADS)
            self._forget()
            return
        if not spoken and earlier is None:
            self._say("No head has spoken yet.")
            self._forget()
            return
        of_class = explorer.surveyed_class
        notes = [] if earlier is None else [_LAST.format(earlier + 1)]
        notes += [] if poses.classes is None else [told_of_class(of_class)]
        self._say(" ".join(notes))

        def task() -> _Cells:
            shown = poses
            if earlier is not None:
                assert folder is not None and particles is not None
                shown = _recorded_poses(known, folder, earlier, particles, truth)
            return _Cells(poses, shown, folder, *cells_of(shown, wanted, of_class))

        self._background.submit(task)

    @Slot(object)
    def _on_cells(self, answer: _Cells) -> None:
        if answer.wanted is not self._wanted:
            return
        values, label = answer.values, answer.label
        if answer.shown is not answer.wanted:
            self._last = answer.folder, answer.shown
        self._cells = values, label
        self.view.set_cells(values, _NSIDE, label)
        if self.on_canvas.isChecked():
            self._layers.show_head_cells(values, _NSIDE, label)

    @Slot(bool)
    def _on_canvas_toggled(self, shown: bool) -> None:
        if not shown:
            self._layers.hide_head_cells()
        elif self._cells is not None:
            self._layers.show_head_cells(self._cells[0], _NSIDE, self._cells[1])


def _recorded_poses(
    known: tuple[Path | None, PosesUpdated] | None,
    folder: Path,
    epoch: int,
    particles: Particles,
    truth: Truth | None,
) -> PosesUpdated:
    """Return the poses of a recorded epoch; those that are known already are not read again."""
    from napari_cryospin.engine.run.snapshot import read_epoch
    from napari_cryospin.engine.runfolder.folder import RunFolder

    if known is not None and known[0] == folder and known[1].epoch == epoch:
        return known[1]
    return read_epoch(RunFolder(folder), epoch, particles, truth)[1]


def cells_of(
    poses: PosesUpdated, figure: str, of_class: int = 0
) -> tuple[NDArray[np.floating], str]:
    """Return a figure of each head by view direction, (M, 12 nside²), and what it is.

    It is of particles of a class (from 0), and of candidates against its map. The direction is the
    true one where it is known, else that of the present pose. Imports torch and healpy, so off the
    main thread.
    """
    from napari_cryospin.engine.evaluation.views import best_of_heads, mean_per_view, of_heads
    from napari_cryospin.engine.geometry.rotations import angular_distance
    from napari_cryospin.gui.canvas.spheres import healpix_mesh
    from napari_cryospin.gui.views.mollweide import index_table

    seen = poses.winner >= 0
    if poses.classes is not None:
        seen = seen & (poses.classes == of_class)
    places = best_of_heads(poses.own_losses, poses.candidate_heads, poses.n_heads)
    losses = of_heads(poses.own_losses, places)
    values: NDArray[Any] = losses
    views, label = poses.rotations[:, 2], _LOSS
    true = seen if poses.has_truth is None else seen & poses.has_truth
    # a class of another structure than the truth's has none but by mistake
    if poses.truth is not None and 2 * true.sum() > seen.sum():
        seen, views = true, poses.truth[:, 2]
        if figure == _ERROR:
            best = of_heads(poses.candidates, places)
            errors = angular_distance(best, poses.truth[:, None])
            values, label = np.where(np.isfinite(losses), errors, np.nan), _ERROR
    # the main thread then finds healpy and both tables ready
    index_table(_NSIDE)
    healpix_mesh(_NSIDE)
    return mean_per_view(views[seen], values[seen], _NSIDE), label
