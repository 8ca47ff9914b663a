"""Optics groups of a STAR file: described in their own block, row by row, or partly in both.

As in RELION, what a particle says of voltage, Cs, amplitude contrast and defocus wins over its
optics group, and what only the optics group says holds for all of its particles. Sizes of images
and pixels are the optics group's; a particle's count only where its group has none.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.checks import choose_pixel_size
from napari_cryospin.engine.data.columns import Columns
from napari_cryospin.engine.data.locate import is_file
from napari_cryospin.engine.data.stack import read_header
from napari_cryospin.engine.data.table import CtfApplied, OpticsGroup
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.given import Given
    from napari_cryospin.engine.data.stack import StackHeader

LENS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
MULTIPLIED, FLIPPED = "rlnCtfDataAreCtfPremultiplied", "rlnCtfDataArePhaseFlipped"
_PIXEL_SIZES = ("rlnImagePixelSize", "rlnPixelSize")
_DETECTOR = ("rlnDetectorPixelSize", "rlnMagnification")
_BOX = "rlnImageSize"


def split_by_optics(
    particles: Columns, optics: Columns, notes: list[str]
) -> tuple[Columns, NDArray[np.int64]]:
    """Return the optics groups in use, one row each, and the group of every particle.

    Parameters
    ----------
    particles, optics
        The blocks of the file; one and the same where it has no optics block.
    notes
        Sentences for the user are appended here.
    """
    if optics is particles:
        group = np.zeros(len(particles), np.int64)
        names = [name for name in (*_winning(), *_sizes()) if name in particles]
    else:
        group = _group_rows(particles, optics)
        names = _told_by_particles(particles, optics, notes)
        _tell_overridden(particles, optics, group, names, notes)
    code = group
    for name in names:
        values, inverse = np.unique(particles.numbers(name), return_inverse=True)
        # numbered anew each time, so that no number grows beyond measure
        code = np.unique(code * len(values) + inverse, return_inverse=True)[1]
    _, rows, index = np.unique(code, return_index=True, return_inverse=True)
    merged = optics.frame.iloc[rows if optics is particles else group[rows]].reset_index(drop=True)
    for name in names:
        merged[name] = particles.frame[name].iloc[rows].array
    return Columns(optics.path, optics.block, merged), index.reshape(-1)


def _winning() -> tuple[str, ...]:
    return (*LENS, MULTIPLIED, FLIPPED)


def _sizes() -> tuple[str, ...]:
    return (_BOX, *_PIXEL_SIZES, *_DETECTOR)


def _told_by_particles(particles: Columns, optics: Columns, notes: list[str]) -> list[str]:
    """Return the columns of the particles that say what their optics group does not, or win."""
    names = [name for name in _winning() if name in particles]
    if _BOX in particles and _BOX not in optics:
        names.append(_BOX)
    pixel_sizes = [name for name in (*_PIXEL_SIZES, *_DETECTOR) if name in particles]
    if not any(name in optics for name in _PIXEL_SIZES):
        return names + pixel_sizes
    ignored = [name for name in pixel_sizes if name in _PIXEL_SIZES]
    if ignored:
        notes.append(f"{ignored[0]} is that of data_optics; the particles' own is not used.")
    return names


def _group_rows(particles: Columns, optics: Columns) -> NDArray[np.int64]:
    """Return the row of the optics block of every particle."""
    name = "rlnOpticsGroup"
    if len(optics) == 1 and not (name in particles and name in optics):
        return np.zeros(len(particles), np.int64)
    known, wanted = optics.whole_numbers(name), particles.whole_numbers(name)
    if len(np.unique(known)) < len(known):
        raise InputError(f"{optics.path}: two optics groups have the same rlnOpticsGroup.")
    unknown = np.setdiff1d(wanted, known)
    if len(unknown):
        raise InputError(
            f"{optics.path}: particles belong to rlnOpticsGroup {unknown[0]}, which data_optics "
            "does not describe."
        )
    order = np.argsort(known)
    return order[np.searchsorted(known[order], wanted)]


def _tell_overridden(
    particles: Columns,
    optics: Columns,
    group: NDArray[np.int64],
    names: list[str],
    notes: list[str],
) -> None:
    other = [
        name
        for name in names
        if name in optics and (particles.numbers(name) != optics.numbers(name)[group]).any()
    ]
    if other:
        notes.append(f"{', '.join(other)}: the particles' values are used, not data_optics'.")


def optics_groups(
    optics: Columns, first_stacks: list[Path], given: Given, notes: list[str]
) -> tuple[OpticsGroup, ...]:
    """Return the optics groups.

    Parameters
    ----------
    optics
        One row for each group.
    first_stacks
        An image file of each group: its header says what the table does not.
    given
        Values that win over those of the table.
    notes
        Sentences for the user are appended here; about headers, for the first group only.
    """
    boxes, pixel_sizes = _boxes(optics), _stated_pixel_sizes(optics)
    voltage, cs, contrast = (_optional(optics, name) for name in LENS)
    applied, names = _applied(optics), _names(optics)
    groups = []
    for i, stack in enumerate(first_stacks):
        box, pixel_size = _complete(
            optics, stack, boxes[i], pixel_sizes[i], given, [] if i else notes
        )
        groups.append(
            OpticsGroup(names[i], pixel_size, box, voltage[i], cs[i], contrast[i], applied[i])
        )
    return given.over(tuple(groups), notes)


def _complete(
    optics: Columns,
    stack: Path,
    box: int | None,
    pixel_size: float | None,
    given: Given,
    notes: list[str],
) -> tuple[int, float]:
    """Return box and pixel size; what the table does not say is from the header of the stack."""
    if box is not None and not is_file(stack) and (pixel_size or given.pixel_size):
        return box, pixel_size or given.pixel_size or 0.0
    header = _header(optics, stack, "rlnImageSize" if box is None else "rlnImagePixelSize")
    if given.pixel_size:
        pixel_size = pixel_size or given.pixel_size
    else:
        pixel_size = choose_pixel_size(
            pixel_size, header.pixel_size, optics.path, stack, "rlnImagePixelSize", notes
        )
    return header.box if box is None else box, pixel_size


def _header(optics: Columns, stack: Path, needed: str) -> StackHeader:
    if not is_file(stack):
        raise InputError(
            f"{optics.path}: the image file {stack} was not found, and without it the table would "
            f"have to give {needed}; name the folder that holds the images (--datadir, or Images "
            "in, in the dock)."
        )
    return read_header(stack)


def _applied(optics: Columns) -> list[CtfApplied]:
    flags = {CtfApplied.PHASES_FLIPPED: FLIPPED, CtfApplied.MULTIPLIED: MULTIPLIED}
    applied = [CtfApplied.NOTHING] * len(optics)
    for what, name in flags.items():
        if name in optics:
            true = optics.numbers(name) != 0
            applied = [what if t else before for t, before in zip(true, applied, strict=True)]
    return applied


def _names(optics: Columns) -> list[str]:
    if "rlnOpticsGroupName" not in optics:
        return [f"opticsGroup{i + 1}" for i in range(len(optics))]
    seen: Counter[str] = Counter()
    names = []
    for name in optics.texts("rlnOpticsGroupName"):
        seen[name] += 1
        # a group that its particles' own values split
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return names


def _optional(block: Columns, name: str) -> list[float | None]:
    return [float(x) for x in block.numbers(name)] if name in block else [None] * len(block)


def _boxes(optics: Columns) -> list[int | None]:
    if _BOX in optics:
        return [int(value) for value in optics.whole_numbers(_BOX)]
    return [None] * len(optics)


def _stated_pixel_sizes(optics: Columns) -> list[float | None]:
    for name in _PIXEL_SIZES:
        if name in optics:
            return _optional(optics, name)
    if not all(name in optics for name in _DETECTOR):
        return [None] * len(optics)
    detector, magnification = (optics.numbers(name) for name in _DETECTOR)
    if (magnification <= 0).any():
        raise InputError(f"{optics.path}: rlnMagnification must be above 0.")
    return [float(x) for x in detector * 1e4 / magnification]
