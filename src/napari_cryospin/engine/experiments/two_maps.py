"""The maps of two runs in one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.alignment import (
    align_rotations,
    apply_alignment,
    map_displacement,
)
from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.events import PosesUpdated
    from napari_cryospin.engine.experiments.records import RunRecord

# of the particles, so many decide on the frame
_DECIDING = 5000


@dataclass(frozen=True)
class TwoMaps:
    """The latest maps of two runs, (D, D, D) each, with their pixel sizes, Å.

    ``note`` says how the second was brought into the frame of the first, or why it was not.
    """

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    pixel_sizes: tuple[float, float]
    note: str


def two_maps(first: RunRecord, second: RunRecord) -> TwoMaps:
    """Read the latest maps of two runs, the second in the frame and hand of the first.

    Runs from different seeds have different frames, and either hand: the poses of their particles,
    where these are the same, tell how the one frame lies in the other.

    Raises
    ------
    InputError
        If one of them has no map yet.
    """
    (mine, size), (other, other_size) = (_latest(record) for record in (first, second))
    if not _same_particles(first, second):
        note = "The runs have other particles: their maps are shown as they are."
        return TwoMaps(mine, other, (size, other_size), note)
    poses, others = (RunFolder(record.folder).poses() for record in (first, second))
    both = np.flatnonzero(poses.used & others.used)
    if len(poses.used) != len(others.used) or len(both) < 2:
        note = "The runs have no particles in common: their maps are shown as they are."
        return TwoMaps(mine, other, (size, other_size), note)
    aligned, note = _aligned(other, other_size, poses, others, both)
    return TwoMaps(mine, aligned, (size, other_size), note)


def _aligned(
    volume: NDArray[np.float32],
    pixel_size: float,
    poses: PosesUpdated,
    others: PosesUpdated,
    both: NDArray[np.int64],
) -> tuple[NDArray[np.float32], str]:
    rows = both[:: -(-len(both) // _DECIDING)]
    alignment = align_rotations(others.rotations[rows], poses.rotations[rows])
    mapped = alignment.apply(others.rotations[rows])
    moved = map_displacement(mapped, others.shifts[rows] - poses.shifts[rows])
    aligned = apply_alignment(volume, alignment, -moved / pixel_size)
    hand = ", mirrored" if alignment.mirrored else ""
    note = (
        f"The second map is turned into the frame of the first{hand}: their poses differ by "
        f"{alignment.median:.1f}° (median)."
    )
    return aligned, note


def _latest(record: RunRecord) -> tuple[NDArray[np.float32], float]:
    maps = RunFolder(record.folder).maps()
    if not maps:
        raise InputError(f"{record.name} has no map yet: wait for the end of an epoch.")
    return read_map(maps[-1])


def _same_particles(first: RunRecord, second: RunRecord) -> bool:
    mine, others = first.settings.data, second.settings.data
    return mine.stack == others.stack and mine.max_particles == others.max_particles
