"""Optics groups of a STAR file: described in their own block, or, before RELION 3.1, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.checks import choose_pixel_size
from napari_cryospin.engine.data.stack import read_header
from napari_cryospin.engine.data.table import OpticsGroup
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.columns import Columns
    from napari_cryospin.engine.data.stack import StackHeader

LENS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_SIZES = (
    "rlnImageSize",
    "rlnImagePixelSize",
    "rlnPixelSize",
    "rlnDetectorPixelSize",
    "rlnMagnification",
)


def split_by_optics(particles: Columns, optics: Columns) -> tuple[Columns, NDArray[np.int64]]:
    """Return the optics groups in use, one row each, and the group of every particle.

    Parameters
    ----------
    particles, optics
        The blocks of the file; one and the same where it has no optics block.
    """
    if optics is particles:
        return _by_value(particles)
    known = optics.whole_numbers("rlnOpticsGroup")
    wanted = particles.whole_numbers("rlnOpticsGroup")
    if len(np.unique(known)) < len(known):
        raise InputError(f"{optics.path}: two optics groups have the same rlnOpticsGroup.")
    unknown = np.setdiff1d(wanted, known)
    if len(unknown):
        raise InputError(
            f"{optics.path}: particles belong to rlnOpticsGroup {unknown[0]}, which data_optics "
            "does not describe."
        )
    used = np.flatnonzero(np.isin(known, wanted))
    position = {group: i for i, group in enumerate(known[used])}
    return optics.take(used), np.array([position[group] for group in wanted])


def _by_value(particles: Columns) -> tuple[Columns, NDArray[np.int64]]:
    values = [particles.numbers(name) for name in (*LENS, *_SIZES) if name in particles]
    if not values:
        return particles.take(np.zeros(1, np.int64)), np.zeros(len(particles), np.int64)
    _, rows, index = np.unique(np.stack(values, 1), axis=0, return_index=True, return_inverse=True)
    return particles.take(rows), index.reshape(-1)


def optics_groups(
    optics: Columns, first_stacks: list[Path], notes: list[str]
) -> tuple[OpticsGroup, ...]:
    """Return the optics groups.

    Parameters
    ----------
    optics
        One row for each group.
    first_stacks
        An image file of each group: its header says what the table does not.
    notes
        Sentences for the user are appended here; about headers, for the first group only.
    """
    boxes, pixel_sizes = _boxes(optics), _pixel_sizes(optics)
    lens = [_optional(optics, name) for name in LENS]
    names = [f"opticsGroup{i + 1}" for i in range(len(optics))]
    if "rlnOpticsGroupName" in optics:
        names = optics.texts("rlnOpticsGroupName")
    groups = []
    for i, stack in enumerate(first_stacks):
        box, pixel_size = boxes[i], pixel_sizes[i]
        if box is None or pixel_size is None or stack.is_file():
            header = _header(optics, stack, "rlnImageSize" if box is None else "rlnImagePixelSize")
            box = header.box if box is None else box
            pixel_size = choose_pixel_size(
                pixel_size,
                header.pixel_size,
                optics.path,
                stack,
                "rlnImagePixelSize",
                [] if i else notes,
            )
        groups.append(OpticsGroup(names[i], pixel_size, box, *(column[i] for column in lens)))
    return tuple(groups)


def _header(optics: Columns, stack: Path, needed: str) -> StackHeader:
    if not stack.is_file():
        raise InputError(
            f"{optics.path}: the image file {stack} was not found, and without it the table would "
            f"have to give {needed}; put the images there."
        )
    return read_header(stack)


def _optional(block: Columns, name: str) -> list[float | None]:
    return [float(x) for x in block.numbers(name)] if name in block else [None] * len(block)


def _boxes(optics: Columns) -> list[int | None]:
    if "rlnImageSize" in optics:
        return [int(value) for value in optics.whole_numbers("rlnImageSize")]
    return [None] * len(optics)


def _pixel_sizes(optics: Columns) -> list[float | None]:
    for name in ("rlnImagePixelSize", "rlnPixelSize"):
        if name in optics:
            return _optional(optics, name)
    if "rlnDetectorPixelSize" not in optics or "rlnMagnification" not in optics:
        return [None] * len(optics)
    magnification = optics.numbers("rlnMagnification")
    if (magnification <= 0).any():
        raise InputError(f"{optics.path}: rlnMagnification must be above 0.")
    return [float(x) for x in optics.numbers("rlnDetectorPixelSize") * 1e4 / magnification]
