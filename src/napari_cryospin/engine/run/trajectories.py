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
    from napari_cryospin.engine.events import PosesUpdated
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.runfolder.records import Trajectory


class TrajectoryReader:
    """Reads trajectories of one run folder.

    The frame and the hand of a map are arbitrary, and a pose search may change them. So the poses
    of each epoch are aligned, all particles together, with those of the next one, step by step to
    the epoch that is looked at. Of several maps each has its own frame: those of the class that the
    particle has there are aligned, and epochs in which it had another are left out.

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
        if not len(found.epochs):
            return found
        here = np.flatnonzero(found.epochs == reference)
        own = int(found.classes[here[0] if len(here) else -1])
        found = _only(found, found.classes == own)
        rotations, epochs = found.rotations.copy(), [int(epoch) for epoch in found.epochs]
        middle = epochs.index(reference) if reference in epochs else len(epochs) - 1
        for place in range(middle):
            step = self._alignment(epochs[place], epochs[place + 1], own)
            rotations[: place + 1] = step.apply(rotations[: place + 1])
        for place in range(len(epochs) - 1, middle, -1):
            step = self._alignment(epochs[place - 1], epochs[place], own)
            rotations[place:] = step.undo(rotations[place:])
        return replace(found, rotations=rotations)

    def _whole(self, found: Trajectory) -> Trajectory:
        """Leave out epochs whose record is damaged in another row, with a note."""
        problems = [self._problem(int(epoch)) for epoch in found.epochs]
        kept = np.array([not problem for problem in problems], bool)
        return replace(_only(found, kept), notes=(*found.notes, *filter(None, problems)))

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

    def _alignment(self, epoch: int, following: int, own: int) -> PoseAlignment:
        # an epoch that is redone after a resume is another one
        key = (epoch, following, own, self._written(epoch), self._written(following))
        if key not in self._alignments:
            before, after = self._poses(epoch), self._poses(following)
            both = np.ones(len(before.used), dtype=bool)
            for poses in (before, after):
                if poses.classes is not None:
                    both &= poses.classes == own
            self._alignments[key] = align_rotations(before.rotations[both], after.rotations[both])
        return self._alignments[key]

    def _poses(self, epoch: int) -> PosesUpdated:
        return read_poses(self.folder, epoch)


def _only(found: Trajectory, kept: NDArray[np.bool_]) -> Trajectory:
    """Return some epochs of a trajectory."""
    return replace(
        found,
        epochs=found.epochs[kept],
        inferences=tuple(itertools.compress(found.inferences, kept)),
        rotations=found.rotations[kept],
        winner=found.winner[kept],
        losses=found.losses[kept],
        classes=found.classes[kept],
    )
