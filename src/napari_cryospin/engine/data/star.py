"""RELION particle tables (STAR files) of versions 3.0, 3.1, 4 and 5."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.checks import check_table
from napari_cryospin.engine.data.columns import read_blocks
from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.stack import find_stack, with_missing_stacks
from napari_cryospin.engine.data.star_optics import LENS, optics_groups, split_by_optics
from napari_cryospin.engine.data.star_writer import (
    CONTRAST_BLOCK,
    PARTICLES_ARE_WHITE,
    write_star,
)
from napari_cryospin.engine.data.table import Defocus, ParticleTable
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.rotations import matrices_from_euler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.columns import Columns

__all__ = ["read_star", "write_star"]

_DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_ORIGINS = ("rlnOriginX", "rlnOriginY")
_ORIGINS_ANGSTROM = ("rlnOriginXAngst", "rlnOriginYAngst")
_UNUSABLE = {
    "rlnCtfDataAreCtfPremultiplied": "multiplied by the CTF",
    "rlnCtfDataArePhaseFlipped": "phase-flipped",
}
_ABERRATIONS = ("rlnOddZernike", "rlnEvenZernike", "rlnMagMat00")
_ABERRATIONS_UNLESS_ZERO = ("rlnBeamTiltX", "rlnBeamTiltY", "rlnCtfBfactor")


def read_star(path: Path) -> ParticleTable:
    """Read a RELION particle table.

    The image files need not be there if the table says how large the images are; a note tells.

    Raises
    ------
    InputError
        If the file is damaged or lacks what is needed; the message names the field.
    """
    path = Path(path)
    blocks = read_blocks(path)
    particles, optics = _particles_and_optics(path, blocks)
    for block in (particles, optics):
        _refuse_unusable(block)
    notes = _ignored(particles, optics)
    stacks, stack_index, image_index = _images(particles)
    optics, optics_index = split_by_optics(particles, optics)
    first_rows = np.unique(optics_index, return_index=True)[1]
    first_stacks = [stacks[i] for i in stack_index[first_rows]]
    groups = optics_groups(optics, first_stacks, notes)
    pixel_sizes = np.array([group.pixel_size for group in groups])[optics_index]
    table = ParticleTable(
        source=path,
        stacks=stacks,
        stack_index=stack_index,
        image_index=image_index,
        optics=groups,
        optics_index=optics_index,
        defocus=_defocus(particles, optics, notes),
        rotations=_rotations(particles),
        shifts=_shifts(particles, pixel_sizes, notes),
        half_set=_half_set(particles),
        particles_are_white=_particles_are_white(blocks),
        notes=tuple(dict.fromkeys(notes)),
        original=_original(blocks, particles.block),
    )
    return check_table(with_missing_stacks(table))


def _original(blocks: dict[str, Columns], particles: str) -> StarOriginal:
    return StarOriginal({name: block.frame for name, block in blocks.items()}, particles)


def _particles_and_optics(path: Path, blocks: dict[str, Columns]) -> tuple[Columns, Columns]:
    """Return the blocks of particles and of optics: one and the same before RELION 3.1."""
    with_images = [block for block in blocks.values() if "rlnImageName" in block]
    if not with_images:
        raise InputError(f"{path}: no block has the column rlnImageName; choose a particle table.")
    particles = blocks.get("particles", with_images[0])
    if not len(particles):
        raise InputError(f"{path} holds no particles.")
    return particles, blocks.get("optics", particles)


def _refuse_unusable(block: Columns) -> None:
    for name, what in _UNUSABLE.items():
        if name in block and block.numbers(name).any():
            raise InputError(
                f"{block.path}: the images are {what} ({name}); extract them again without that."
            )
    name = "rlnImageDimensionality"
    if name in block and (block.numbers(name) != 2).any():
        raise InputError(f"{block.path}: {name} must be 2; subtomograms cannot be used.")


def _ignored(particles: Columns, optics: Columns) -> list[str]:
    found = [name for name in _ABERRATIONS if name in optics]
    for name in _ABERRATIONS_UNLESS_ZERO:
        block = optics if name in optics else particles
        if name in block and block.numbers(name).any():
            found.append(name)
    return [f"Not modelled and ignored: {', '.join(found)}."] if found else []


def _images(
    particles: Columns,
) -> tuple[tuple[Path, ...], NDArray[np.int64], NDArray[np.int64]]:
    names = []
    image_index = np.zeros(len(particles), np.int64)
    for row, text in enumerate(particles.texts("rlnImageName")):
        number, at, name = text.rpartition("@")
        # RELION names the format of a file after a colon where the suffix does not tell
        names.append(name.removesuffix(":mrcs"))
        if at and not (number.isascii() and number.isdigit() and int(number) > 0):
            raise InputError(
                f"{particles.path}: rlnImageName '{text}' of row {row + 1} is not NUMBER@FILE."
            )
        image_index[row] = int(number) - 1 if at else 0
    unique, stack_index = np.unique(names, return_inverse=True)
    folder = particles.path.parent
    return tuple(find_stack(Path(name), folder) for name in unique), stack_index, image_index


def _defocus(particles: Columns, optics: Columns, notes: list[str]) -> Defocus | None:
    if not any(name in particles for name in _DEFOCUS):
        notes.append("The table has no CTF columns: the images are used without CTF.")
        return None
    missing = [name for name in _DEFOCUS if name not in particles]
    missing += [name for name in LENS if name not in optics]
    if missing:
        raise InputError(
            f"{particles.path}: the CTF is not complete, {', '.join(missing)} missing; add what is "
            "missing, or remove the rlnDefocus columns to use the images without CTF."
        )
    name = "rlnPhaseShift"
    shift = particles.numbers(name) if name in particles else np.zeros(len(particles))
    u, v, angle = (particles.numbers(name).astype(np.float32) for name in _DEFOCUS)
    return Defocus(u, v, angle, shift.astype(np.float32))


def _rotations(particles: Columns) -> NDArray[np.float64] | None:
    if not all(name in particles for name in _ANGLES):
        return None
    return matrices_from_euler(np.stack([particles.numbers(name) for name in _ANGLES], -1))


def _shifts(
    particles: Columns, pixel_sizes: NDArray[np.float64], notes: list[str]
) -> NDArray[np.float64] | None:
    """Return origin shifts in Å; those that are in Å win over those in pixels."""
    in_angstrom = all(name in particles for name in _ORIGINS_ANGSTROM)
    in_pixels = all(name in particles for name in _ORIGINS)
    if in_angstrom:
        if in_pixels:
            notes.append("Shifts are taken from rlnOriginX/YAngst; rlnOriginX/Y are ignored.")
        return np.stack([particles.numbers(name) for name in _ORIGINS_ANGSTROM], -1)
    if in_pixels:
        pixels = np.stack([particles.numbers(name) for name in _ORIGINS], -1)
        return pixels * pixel_sizes[:, None]
    return None


def _half_set(particles: Columns) -> NDArray[np.int64] | None:
    name = "rlnRandomSubset"
    return particles.whole_numbers(name) if name in particles else None


def _particles_are_white(blocks: dict[str, Columns]) -> bool:
    """Return RELION's default, unless :func:`write_star` said otherwise."""
    block = blocks.get(CONTRAST_BLOCK)
    return block is None or bool(block.numbers(PARTICLES_ARE_WHITE).all())
