"""The pose search as part of a run: from several starts, the one with the best evidence goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.inference.search import search_poses, search_rounds
from napari_cryospin.engine.run.events import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.inference.search import SearchRound
    from napari_cryospin.engine.run.training import Training

_TASK = "Searching poses"


class PoseSearch:
    """Searches the poses of all particles in the epoch, round by round.

    A low-resolution map can be a dead end, and where auto-encoding ended in one the search would
    stay there. So the coarse rounds are made from the present map and from random ones; the
    evidence tells a dead end clearly.

    Parameters
    ----------
    training
        Its map and poses are updated in place.
    first
        Whether this is the first search after the switch; a later one is a single fine round from
        the present map.
    """

    def __init__(self, training: Training, *, first: bool) -> None:
        self._training = training
        settings = training.settings.search
        coarse, fine = search_rounds(training.stack.box, settings.nside)
        self._starts = settings.starts if first else 0
        self._coarse = coarse
        self._fine = fine if first else (coarse + fine)[-1:]
        self._total = self._starts * len(coarse) + len(self._fine)
        self._done = 0

    def rounds(self) -> Iterator[Progress]:
        """Do a round after each event that is taken."""
        best: tuple[float, Tensor, Tensor, Tensor] | None = None
        poses = self._training.poses
        for start in range(self._starts):
            if start > 0:
                self._training.volume.assign(self._training.random_map(start))
            evidence = 0.0
            for round_ in self._coarse:
                yield Progress(_TASK, self._done, self._total)
                evidence = self._round(round_)
            if best is None or evidence > best[0]:
                grid = self._training.volume().detach().clone()
                best = evidence, grid, poses.rotations.clone(), poses.shifts.clone()
        if best is not None:
            _, grid, poses.rotations, poses.shifts = best
            self._training.volume.assign(grid)
        for round_ in self._fine:
            yield Progress(_TASK, self._done, self._total)
            self._round(round_)
        yield Progress(_TASK, self._done, self._total)

    def _round(self, round_: SearchRound) -> float:
        training = self._training
        grid, evidence = search_poses(
            training.stack,
            training.volume().detach(),
            training.poses,
            round_,
            shifts=training.settings.model.shifts,
            rows=training.rows_in_epoch,
        )
        training.volume.assign(grid)
        self._done += 1
        return evidence
