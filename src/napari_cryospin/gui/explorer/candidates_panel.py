"""The Candidates tab of the explorer: heads' poses, modes or hypotheses of one particle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_cryospin.gui.views.candidates_view import Candidates, CandidatesView
from napari_cryospin.gui.views.export import SaveButtons
from napari_cryospin.gui.views.flowing import as_stretched, turning_box
from napari_cryospin.gui.views.particle_view import ParticleView
from napari_cryospin.gui.views.scrolling import scrolling_layout

if TYPE_CHECKING:
    from napari_cryospin.gui.explorer.posterior_worker import PosteriorResult
    from napari_cryospin.gui.explorer.state import Explorer

_NONE = (
    "The shown state has no candidates of this particle: it was not seen yet, or auto-decoding has "
    "one hypothesis."
)


class CandidatesPanel(QWidget):
    """The particle at its best pose, and at each candidate's.

    Parameters
    ----------
    explorer
        What is looked at.
    """

    def __init__(self, explorer: Explorer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self.best = ParticleView(self)
        self.best.setMinimumHeight(130)
        self.view = CandidatesView(self)
        self.view.setMinimumHeight(150)
        as_stretched(self.best, self.view)
        self.note = QLabel("", self)
        self.note.setWordWrap(True)
        save = SaveButtons(self.view, self)
        save.message.connect(explorer.message)
        best, candidates = QVBoxLayout(), QVBoxLayout()
        best.addWidget(self.best, 1)
        best.addWidget(self.note)
        candidates.addWidget(self.view, 1)
        candidates.addWidget(save)
        layout = scrolling_layout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(3)
        layout.addLayout(turning_box(self, (best, 2), (candidates, 3)), 1)
        explorer.run_changed.connect(self.best.clear)
        explorer.run_changed.connect(self.view.clear)

    def show_result(self, result: PosteriorResult) -> None:
        """Show the images of a posterior and its candidates."""
        # with it comes torch, which is at hand where there is a result
        from napari_cryospin.engine.geometry.rotations import angular_distance

        posterior, request = result.posterior, result.request
        self.best.set_images(posterior.image, posterior.projection, posterior.difference)
        poses = request.poses
        if poses is None or len(request.candidates) == 0:
            self.view.clear()
            self.note.setText(_NONE)
            return
        particle = posterior.particle
        truth = None if poses.truth is None else poses.truth[particle]
        self.note.setText(f"The best pose of the posterior; then {poses.inference.candidates}.")
        self.view.set_candidates(
            Candidates(
                posterior.image,
                posterior.candidate_projections,
                _losses(poses.candidate_losses[particle], len(request.candidates)),
                int(poses.winner[particle]),
                posterior.distance_to_best(request.candidates),
                None if truth is None else angular_distance(request.candidates, truth),
            )
        )


def _losses(losses: np.ndarray, heads: int) -> np.ndarray:
    """Return the losses of the heads; a state that has changed meanwhile may hold others."""
    return losses if len(losses) == heads else np.full(heads, np.nan, dtype=np.float32)
