"""The Candidates tab of the explorer: heads' poses, modes or hypotheses of one particle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_cryospin.gui.explorer.state import (
    candidates_there,
    heads_of,
    losses_of,
    winner_of,
)
from napari_cryospin.gui.views.candidates_view import Candidates, CandidatesView
from napari_cryospin.gui.views.export import SaveButtons
from napari_cryospin.gui.views.flowing import as_stretched, turning_box
from napari_cryospin.gui.views.particle_view import ParticleView
from napari_cryospin.gui.views.scrolling import scrolling_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.events import PosesUpdated
    from napari_cryospin.gui.explorer.posterior_worker import PosteriorResult
    from napari_cryospin.gui.explorer.state import Explorer

_NONE = (
    "The shown state has no candidates of this particle: it was not seen yet, or auto-decoding has "
    "one hypothesis."
)


class CandidatesPanel(QWidget):
    """The particle at its best pose, and at that of each mode of its candidates.

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
        poses, beside = request.poses, posterior.stand_ins
        if poses is None or beside is None:
            self.view.clear()
            self.note.setText(_NONE)
            return
        particle, places = posterior.particle, beside.places
        shown = request.candidates[places]
        truth = poses.truth_of(particle)
        heads, winner = heads_of(poses, particle), winner_of(poses, particle)
        said = tuple(_said(heads, beside.modes == mode, place) for mode, place in enumerate(places))
        self.note.setText(_told(poses, len(request.candidates)))
        self.view.set_candidates(
            Candidates(
                posterior.image,
                posterior.candidate_projections,
                losses_of(poses, particle)[places],
                beside.weights,
                said,
                _numbers(poses, particle, said, places),
                int(beside.modes[winner]) if winner >= 0 else -1,
                posterior.distance_to_best(shown),
                None if truth is None else angular_distance(shown, truth),
            )
        )


def _told(poses: PosesUpdated, number: int) -> str:
    """Return in words what the candidates are."""
    if not poses.inference.has_heads:
        return f"The best pose of the posterior; then {poses.inference.candidates}."
    if poses.candidate_counts is None:
        each = f"the modes of the {number} poses of the heads"
        said = "how often each head says it"
    else:
        each = f"the modes of the {number} poses that were recorded"
        said = "the heads that say it (and how many of all their poses do)"
    return f"The best pose of the posterior; then {each}: {said}, and its weight."


def _numbers(
    poses: PosesUpdated, particle: int, said: tuple[dict[int, int], ...], places: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return how many candidates each mode has, those that were not recorded among them."""
    if poses.candidate_counts is None:
        return np.array([sum(heads.values()) for heads in said])
    counted = poses.candidate_counts[particle][candidates_there(poses, particle)]
    return np.asarray(counted[places], dtype=np.int64)


def _said(heads: NDArray[np.int64], here: NDArray[np.bool_], best: int) -> dict[int, int]:
    """Return the heads of the candidates of a mode with their numbers, the best one's first."""
    found, numbers = np.unique(heads[here], return_counts=True)
    said = {int(head): int(number) for head, number in zip(found, numbers, strict=True)}
    first = int(heads[best])
    return {first: said.pop(first, 1), **said}
