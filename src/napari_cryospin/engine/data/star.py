"""RELION particle tables (STAR files) of versions 3.0, 3.1, 4 and 5."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.checks import applied_notes, check_table
from napari_cryospin.engine.data.columns import read_blocks
from napari_cryospin.engine.data.given import OPTIONS, Given
from napari_cryospin.engine.data.locate import StackFinder, is_file
from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.stack import read_header, with_missing_stacks
from napari_cryospin.engine.data.star_names import NO_NUMBER, NOT_POSSIBLE, taken_apart
from napari_cryospin.engine.data.star_optics import LENS, optics_groups, split_by_optics
from napari_cryospin.engine.data.star_writer import CONTRAST_BLOCK, PARTICLES_ARE_WHITE, write_star
from napari_cryospin.engine.data.table import Defocus, ParticleTable
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.euler import matrices_from_euler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.columns import Columns

__all__ = ["read_star", "write_star"]

_DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
_LENS_FIELDS = ("voltage", "spherical_aberration", "amplitude_contrast")
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_ORIGINS = ("rlnOriginX", "rlnOriginY")
_ORIGINS_ANGSTROM = ("rlnOriginXAngst", "rlnOriginYAngst")
_ABERRATIONS = ("rlnOddZernike", "rlnEvenZernike", "rlnMagMat00")
_ABERRATIONS_UNLESS_ZERO = ("rlnBeamTiltX", "rlnBeamTiltY", "rlnCtfBfactor")


def read_star(path: Path, given: Given | None = None) -> ParticleTable:
    """Read a RELION particle table.

    The image files need not be there if the table says how large the images are; a note tells.

    Parameters
    ----------
    path
        The STAR file.
    given
        Where the images are, and values that win over those of the table.

    Raises
    ------
    InputError
        If the file is damaged or lacks what is needed; the message names the field.
    """
    path, given = Path(path), given or Given()
    blocks = read_blocks(path)
    particles, optics = _particles_and_optics(path, blocks)
    _refuse_tomograms(blocks)
    notes = _ignored(particles, optics)
    stacks, stack_index, image_index = _images(particles, StackFinder(path, given.datadir), notes)
    optics, optics_index = split_by_optics(particles, optics, notes)
    first_rows = np.unique(optics_index, return_index=True)[1]
    first_stacks = [stacks[i] for i in stack_index[first_rows]]
    groups = optics_groups(optics, first_stacks, given, notes)
    pixel_sizes = np.array([group.pixel_size for group in groups])[optics_index]
    defocus = _defocus(particles, optics, optics_index, given, notes)
    notes += applied_notes(groups, with_ctf=defocus is not None)
    table = ParticleTable(
        source=path,
        stacks=stacks,
        stack_index=stack_index,
        image_index=image_index,
        optics=groups,
        optics_index=optics_index,
        defocus=defocus,
        rotations=_rotations(particles),
        shifts=_shifts(particles, pixel_sizes, notes),
        half_set=_half_set(particles),
        particles_are_white=_particles_are_white(blocks),
        notes=tuple(dict.fromkeys(notes)),
        original=_original(blocks, particles.block),
    )
    return check_table(with_missing_stacks(table))


def _original(blocks: dict[str, Columns], particles: str) -> StarOriginal:
    frames = {name: block.frame for name, block in blocks.items()}
    single = frozenset(name for name, block in blocks.items() if not block.loop)
    return StarOriginal(frames, particles, single)


def _particles_and_optics(path: Path, blocks: dict[str, Columns]) -> tuple[Columns, Columns]:
    """Return the blocks of particles and of optics: one and the same before RELION 3.1."""
    with_images = [block for block in blocks.values() if "rlnImageName" in block]
    if not with_images:
        raise InputError(f"{path}: no block has the column rlnImageName; choose a particle table.")
    particles = blocks.get("particles", with_images[0])
    if not len(particles):
        raise InputError(f"{path} holds no particles.")
    optics = blocks.get("optics", particles)
    return particles, optics if len(optics) else particles


def _refuse_tomograms(blocks: dict[str, Columns]) -> None:
    name = "rlnImageDimensionality"
    for block in blocks.values():
        if (block.known_numbers(name) != 2).any():
            raise InputError(f"{block.path}: {name} must be 2; subtomograms cannot be used.")
        stacks = "rlnTomoSubTomosAre2DStacks"
        if block.known_numbers(stacks).any():
            raise InputError(
                f"{block.path}: its particles are stacks of tilt images ({stacks}), which cannot "
                "be used; choose a table of single particles."
            )


def _ignored(particles: Columns, optics: Columns) -> list[str]:
    blocks = [optics] if optics is particles else [optics, particles]
    found = [name for name in _ABERRATIONS if any(name in block for block in blocks)]
    for name in _ABERRATIONS_UNLESS_ZERO:
        if any(block.known_numbers(name).any() for block in blocks):
            found.append(name)
    return [f"Not modelled and ignored: {', '.join(found)}."] if found else []


def _images(
    particles: Columns, finder: StackFinder, notes: list[str]
) -> tuple[tuple[Path, ...], NDArray[np.int64], NDArray[np.int64]]:
    texts = particles.texts("rlnImageName")
    names = taken_apart(texts)
    bad = np.flatnonzero(names.numbers == NOT_POSSIBLE)
    if len(bad):
        raise InputError(
            f"{particles.path}: rlnImageName '{texts.iloc[bad[0]]:.200}' of row {bad[0] + 1} is "
            "not NUMBER@FILE."
        )
    # RELION names the format of a file after a colon where the suffix does not tell
    files = [name.removesuffix(":mrcs") for name in names.files]
    unique = sorted(set(files))
    place = {name: number for number, name in enumerate(unique)}
    stack_index = np.array([place[name] for name in files], np.int64)[names.file_index]
    stacks, moved = finder.find(unique)
    notes += moved
    alone = np.flatnonzero(names.numbers == NO_NUMBER)
    for stack, first in zip(*np.unique(stack_index[alone], return_index=True), strict=True):
        _require_one_image(particles, alone[first], stacks[stack])
    return stacks, stack_index, np.maximum(names.numbers - 1, 0)


def _require_one_image(particles: Columns, row: int | np.int64, stack: Path) -> None:
    """Refuse a name without number that stands for several images, as tilt series have."""
    if is_file(stack) and read_header(stack).n_images > 1:
        raise InputError(
            f"{particles.path}: rlnImageName of row {row + 1} does not say which image of {stack} "
            "is meant; single particles are named NUMBER@FILE, and stacks of tilt images or "
            "subtomograms cannot be used."
        )


def _defocus(
    particles: Columns,
    optics: Columns,
    optics_index: NDArray[np.int64],
    given: Given,
    notes: list[str],
) -> Defocus | None:
    """Return the CTF parameters: the particles' or, where they have none, their group's."""

    def column(name: str) -> NDArray[np.float32]:
        values = (
            particles.numbers(name) if name in particles else optics.numbers(name)[optics_index]
        )
        return values.astype(np.float32)

    if not any(name in particles or name in optics for name in _DEFOCUS):
        notes.append("The table has no CTF columns: the images are used without CTF.")
        return None
    missing = [name for name in _DEFOCUS if name not in particles and name not in optics]
    lens = zip(LENS, _LENS_FIELDS, strict=True)
    options = {name: OPTIONS[field] for name, field in lens if given.value(field) is None}
    lacking = {name: option for name, option in options.items() if name not in optics}
    if missing or lacking:
        remedy = f"give it with {', '.join(lacking.values())}" if not missing else "add it"
        raise InputError(
            f"{particles.path}: the CTF is not complete, {', '.join([*missing, *lacking])} "
            f"missing; {remedy}, or remove the rlnDefocus columns to use the images without CTF."
        )
    u, v, angle = (column(name) for name in _DEFOCUS)
    name = "rlnPhaseShift"
    known = name in particles or name in optics
    return Defocus(u, v, angle, column(name) if known else np.zeros_like(u))


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
