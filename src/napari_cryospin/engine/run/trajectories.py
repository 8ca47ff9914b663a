"""The way of a particle's pose over the epochs of a run, in the frame of one of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.alignment import align_rotations
from napari_cryospin.engine.runfolder.records import read_poses, trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.evaluation.alignment import PoseAlignment
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.runfolder.records import Trajectory


class TrajectoryReader:
    """Reads trajectories of one run folder.

    The frame and the hand of a map are arbitrary, and a pose search may change them. So the poses
    of each epoch are aligned, all particles together, with those of the next one, step by step to
    the epoch that is looked at.

    Parameters
    ----------
    folder
        The run folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._alignments: dict[tuple[object, ...], PoseAlignment] = {}
        self._problems: dict[tuple[int, int], str] = {}

    def read(self, particle: int, reference: int) -> Trajectory:
        """Return the trajectory of a particle in the frame of the recorded epoch ``reference``.

        Raises
        ------
        InputError
            If a record is missing or damaged.
        """
        found = self._whole(trajectory(self.folder, particle))
        rotations, epochs = found.rotations.copy(), [int(epoch) for epoch in found.epochs]
        middle = epochs.index(reference) if reference in epochs else len(epochs) - 1
        for place in range(middle):
            step = self._alignment(epochs[place], epochs[place + 1])
            rotations[: place + 1] = step.apply(rotations[: place + 1])
        for place in range(len(epochs) - 1, middle, -1):
            step = self._alignment(epochs[place - 1], epochs[place])
            rotations[place:] = step.undo(rotations[place:])
        return replace(found, rotations=rotations)

    def _whole(self, found: Trajectory) -> Trajectory:
        """Leave out epochs whose record is damaged in another row, with a note."""
        problems = [self._problem(int(epoch)) for epoch in found.epochs]
        kept = np.array([not problem for problem in problems], bool)
        if kept.all():
            return found
        return replace(
            found,
            epochs=found.epochs[kept],
            inferences=tuple(itertools.compress(found.inferences, kept)),
            rotations=found.rotations[kept],
            winner=found.winner[kept],
            losses=found.losses[kept],
            notes=(*found.notes, *filter(None, problems)),
        )

    def _problem(self, epoch: int) -> str:
        """Return what is wrong with the record of an epoch; nothing, mostly."""
        key = (epoch, self._written(epoch))
        if key not in self._problems:
            try:
                self._poses(epoch)
            except InputError as error:
                self._problems[key] = f"{str(error).rstrip('.')}: epoch {epoch + 1} is left out."
            else:
                self._problems[key] = ""
        return self._problems[key]

    def _written(self, epoch: int) -> int:
        """Return when a record was written, or 0 where it has gone."""
        try:
            return self.folder.poses_path(epoch).stat().st_mtime_ns
        except OSError:
            return 0

    def _alignment(self, epoch: int, following: int) -> PoseAlignment:
        # an epoch that is redone after a resume is another one
        key = (epoch, following, self._written(epoch), self._written(following))
        if key not in self._alignments:
            self._alignments[key] = align_rotations(self._poses(epoch), self._poses(following))
        return self._alignments[key]

    def _poses(self, epoch: int) -> NDArray[np.float32]:
        return read_poses(self.folder, epoch).rotations
