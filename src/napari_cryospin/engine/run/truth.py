"""Comparing a run with the truth, where it is known, at every epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.belonging import belonging
from napari_cryospin.engine.data.density import fit_map, read_molecule
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.alignment import (
    align_rotations,
    apply_alignment,
    map_displacement,
)
from napari_cryospin.engine.evaluation.fsc import fsc, resolution
from napari_cryospin.engine.geometry.symmetry import point_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.live_events import PosesUpdated
    from napari_cryospin.engine.settings import DataSettings

# particles that are enough to decide on a frame
_DECIDING = 5000


@dataclass(frozen=True)
class Comparison:
    """Median and mean pose error (degrees), FSC against the true map, and its resolution (Å).

    ``masked`` is the FSC in a mask, where one was given.
    """

    median: float
    mean: float
    fsc: NDArray[np.float64] | None
    resolution: float | None
    masked: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Truth:
    """What is known of the particles in use.

    Parameters
    ----------
    rotations
        True poses, (n, 3, 3).
    shifts
        True origin shifts (x, y), Å, (n, 2); 0 where the table has none.
    volume
        True map at the working box, if known.
    pixel_size
        Å per pixel of the working box.
    belongs
        Which particles belong to the true map, (n,): the others have no true pose.
    group
        Turns after which the map is the same, (g, 3, 3): the mates of a pose are as right. None:
        there are none.
    """

    rotations: NDArray[np.float64]
    shifts: NDArray[np.float64]
    volume: NDArray[np.float32] | None
    pixel_size: float
    belongs: NDArray[np.bool_]
    group: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, data: DataSettings, particles: Particles, symmetry: str = "C1") -> Truth | None:
        """Read the truth that the settings name, or return None.

        Raises
        ------
        InputError
            If a truth file cannot be read or does not belong to the stack.
        """
        if data.truth_star is None:
            return None
        table = read_star(data.truth_star)
        if table.rotations is None or table.n_particles != particles.table.n_particles:
            raise InputError(
                f"{data.truth_star} is not the truth of {particles.table.source}: it needs poses "
                f"for the same {particles.table.n_particles} particles."
            )
        volume = None
        if data.truth_map is not None:
            volume = fit_map(*read_molecule(data.truth_map), particles.box, particles.pixel_size)
        shifts = np.zeros((table.n_particles, 2)) if table.shifts is None else table.shifts
        rows = particles.rows
        belongs = belonging(table)[rows]
        group = point_group(symmetry)
        return cls(
            table.rotations[rows],
            shifts[rows],
            volume,
            particles.pixel_size,
            belongs,
            group if len(group) > 1 else None,
        )

    def in_frame_of(
        self, rotations: NDArray[np.float32], used: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the true poses (n, 3, 3) in the frame of a run's poses, and in its hand.

        Some of the particles in use, (n,), as far as they belong, decide on the frame.
        """
        rows = np.flatnonzero(self._compared(used))
        few = rows[:: math.ceil(len(rows) / _DECIDING)]
        alignment = align_rotations(rotations[few], self.rotations[few], self.group)
        beside = alignment.undo(self.rotations)
        if self.group is not None:
            # of the mates, which are all as true, the one that a pose is compared with
            mates = alignment.undo(self.rotations[:, None] @ self.group)
            nearest = np.einsum("nij,ngij->ng", rotations, mates).argmax(1)
            beside = mates[np.arange(len(mates)), nearest]
        return beside.astype("float32")

    def compare(
        self,
        rotations: NDArray[np.float32],
        shifts: NDArray[np.floating],
        used: NDArray[np.bool_],
        volume: NDArray[np.float32],
        mask: NDArray[np.float32] | None = None,
    ) -> Comparison:
        """Compare poses of the particles that belong, and a map, after global alignment.

        Parameters
        ----------
        rotations, shifts
            Poses (n, 3, 3) and origin shifts (x, y) in Å, (n, 2).
        used
            Particles in use, (n,).
        volume
            Map, (D, D, D).
        mask
            A mask of it, (D, D, D), for a comparison in it as well.
        """
        used = self._compared(used)
        alignment = align_rotations(rotations[used], self.rotations[used], self.group)
        curve = reached = masked = None
        if self.volume is not None:
            mapped = alignment.apply(rotations[used])
            moved = map_displacement(mapped, (shifts - self.shifts)[used])
            aligned = apply_alignment(volume, alignment, -moved / self.pixel_size)
            curve = fsc(aligned, self.volume)
            reached = resolution(curve, self.pixel_size, 0.5)
            if mask is not None:
                around = apply_alignment(mask, alignment, -moved / self.pixel_size)
                masked = fsc(around * aligned, around * self.volume)
        return Comparison(alignment.median, alignment.mean, curve, reached, masked)

    def class_of(
        self, classes: NDArray[np.integer] | None, used: NDArray[np.bool_]
    ) -> tuple[int, NDArray[np.bool_]]:
        """Return the class, from 0, that most of its particles are in, and who is in it, (n,).

        Of classes (n,), and particles in use, (n,); None: there is one class.
        """
        if classes is None:
            return 0, used
        own = int(np.bincount(classes[self._compared(used)]).argmax())
        return own, used & (classes == own)

    def _compared(self, used: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which of the particles in use belong; all of them where none does."""
        both = used & self.belongs
        return both if both.any() else used


def beside_truth(
    truth: Truth | None, poses: PosesUpdated, maps: Sequence[NDArray[np.float32]]
) -> Comparison | None:
    """Return what poses and the map of each class come to beside the truth, where it is known.

    Of several classes the one counts that shows most of the true map's particles.
    """
    if truth is None:
        return None
    number, used = truth.class_of(poses.classes, poses.used)
    return truth.compare(poses.rotations, poses.shifts, used, maps[number])
