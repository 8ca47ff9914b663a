"""The particle table: what is known about every image of a stack, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.original import CryosparcOriginal, StarOriginal


class CtfApplied(IntEnum):
    """What was done to images on account of the CTF before they were written."""

    NOTHING = 0
    PHASES_FLIPPED = 1
    MULTIPLIED = 2


@dataclass(frozen=True)
class OpticsGroup:
    """Imaging conditions shared by a group of particles.

    Parameters
    ----------
    name
        Name of the group (``rlnOpticsGroupName``).
    pixel_size
        Å per pixel of the extracted particles.
    box
        Side of the extracted particles, pixels.
    voltage
        Acceleration voltage, kV; None where the table does not say.
    spherical_aberration
        Cs, mm; None where the table does not say.
    amplitude_contrast
        Fraction between 0 and 1; None where the table does not say.
    ctf_applied
        What was done to the images on account of the CTF.
    """

    name: str
    pixel_size: float
    box: int
    voltage: float | None = None
    spherical_aberration: float | None = None
    amplitude_contrast: float | None = None
    ctf_applied: CtfApplied = CtfApplied.NOTHING


@dataclass(frozen=True)
class Defocus:
    """Per-particle CTF parameters in RELION's convention (underfocus positive).

    Parameters
    ----------
    u, v
        Defocus along the two axes, Å, shape (n,).
    angle
        Angle between the x axis and the axis of ``u``, degrees, shape (n,).
    phase_shift
        Phase plate shift, degrees, shape (n,).
    """

    u: NDArray[np.float32]
    v: NDArray[np.float32]
    angle: NDArray[np.float32]
    phase_shift: NDArray[np.float32]


@dataclass(frozen=True)
class ParticleTable:
    """One row per particle image, in the order of the file it was read from.

    Parameters
    ----------
    source
        The file that the user chose.
    stacks
        The image files that the table refers to.
    stack_index
        Which of ``stacks`` holds each particle, shape (n,), from 0.
    image_index
        Which image of that stack, shape (n,), from 0 (RELION writes it from 1).
    optics
        The optics groups.
    optics_index
        Which of ``optics`` each particle belongs to, shape (n,), from 0.
    defocus
        CTF parameters, or None: images are then taken as they are, with no CTF.
    rotations
        Known poses as RELION Euler matrices, shape (n, 3, 3), or None.
    shifts
        Known origin shifts (x, y) as ``rlnOriginX/YAngst``, Å, shape (n, 2), or None.
    half_set
        ``rlnRandomSubset`` (1 or 2), shape (n,), or None.
    particles_are_white
        Contrast of the images on disk: True for RELION's default (particles brighter than the
        background), False where the table says otherwise (cryoSPARC's ``blob/sign`` of −1).
    notes
        What was missing, assumed or ignored, one sentence each, for the user to read.
    original
        The user's table as it was read, which is carried through to what is written; None for a
        bare stack.
    """

    source: Path
    stacks: tuple[Path, ...]
    stack_index: NDArray[np.int64]
    image_index: NDArray[np.int64]
    optics: tuple[OpticsGroup, ...]
    optics_index: NDArray[np.int64]
    defocus: Defocus | None = None
    rotations: NDArray[np.float64] | None = None
    shifts: NDArray[np.float64] | None = None
    half_set: NDArray[np.int64] | None = None
    particles_are_white: bool = True
    notes: tuple[str, ...] = field(default=())
    original: StarOriginal | CryosparcOriginal | None = field(default=None, repr=False)

    @property
    def n_particles(self) -> int:
        """Number of particles."""
        return len(self.image_index)

    @property
    def box(self) -> int:
        """Side of the images of the first optics group, pixels."""
        return self.optics[0].box

    @property
    def pixel_size(self) -> float:
        """Å per pixel of the first optics group."""
        return self.optics[0].pixel_size
