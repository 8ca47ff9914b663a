"""Checks that hold for every particle table, whatever it was read from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.star_text import can_be_told
from napari_cryospin.engine.data.table import CtfApplied
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable

# tables and headers round pixel sizes; beyond this they mean different ones
_PIXEL_SIZE_TOLERANCE = 0.005
# headers hold 0 or 1 Å where the program that wrote them did not know
_PLACEHOLDER = 1.0
_SMALLEST_BOX, _LARGEST_BOX = 4, 20_000
_SMALLEST_PIXEL, _LARGEST_PIXEL = 0.01, 1000.0  # Å
# defocus beyond it is no cryo-EM, and its CTF oscillates within any pixel
_MOST_DEFOCUS = 1e6  # Å


def check_table(table: ParticleTable) -> ParticleTable:
    """Return the table if its values are physically possible.

    Raises
    ------
    InputError
        If the table has no particles, or a value that no microscope has.
    """
    if not table.n_particles:
        raise InputError(f"{table.source} holds no particles.")
    for stack in table.stacks:
        if not can_be_told(str(stack)):
            raise InputError(
                f"{table.source}: no table of RELION can hold the name of {stack}: rename the file "
                "or its folder, without line breaks and quotes."
            )
    for group in table.optics:
        problem = _problem(group, with_ctf=table.defocus is not None)
        if problem:
            raise InputError(f"{table.source}: optics group '{group.name}' has {problem}.")
    if table.defocus is not None:
        for values in (table.defocus.u, table.defocus.v):
            _check_defocus(table, values)
    return table


def _check_defocus(table: ParticleTable, values: NDArray[np.float32]) -> None:
    impossible = np.flatnonzero(~(np.abs(values) <= _MOST_DEFOCUS))
    if len(impossible):
        row = int(impossible[0])
        raise InputError(
            f"{table.source}: particle {row + 1} has a defocus of {values[row]:g} Å, beyond "
            f"{_MOST_DEFOCUS:g} Å; give defocus in Å."
        )


def applied_notes(groups: tuple[OpticsGroup, ...], *, with_ctf: bool) -> list[str]:
    """Return notes on what was done to images on account of the CTF."""
    applied = {group.ctf_applied for group in groups} - {CtfApplied.NOTHING}
    if applied and not with_ctf:
        return ["The images were treated for their CTF, but the table does not say which."]
    notes = {
        CtfApplied.PHASES_FLIPPED: "Images are phase-flipped: they are modelled with |CTF|.",
        CtfApplied.MULTIPLIED: "Images are multiplied by their CTF: they are modelled with CTF².",
    }
    return [notes[what] for what in sorted(applied)]


def _problem(group: OpticsGroup, *, with_ctf: bool) -> str | None:
    if not (math.isfinite(group.pixel_size) and group.pixel_size > 0):
        return f"a pixel size of {group.pixel_size} Å; it must be above 0"
    if not _SMALLEST_PIXEL <= group.pixel_size <= _LARGEST_PIXEL:
        return f"a pixel size of {group.pixel_size:g} Å, which no microscope has (--pixel-size)"
    if not _SMALLEST_BOX <= group.box <= _LARGEST_BOX:
        return f"images of {group.box} pixels; particles have {_SMALLEST_BOX} to {_LARGEST_BOX}"
    if not with_ctf:
        return None
    if group.voltage is None or not 0 < group.voltage < 10_000:
        return f"a voltage of {group.voltage} kV; usual are 100, 200 and 300 (--voltage)"
    if group.spherical_aberration is None or not 0 <= group.spherical_aberration < 100:
        return f"a spherical aberration of {group.spherical_aberration} mm; usual is 2.7 (--cs)"
    if group.amplitude_contrast is None or not 0 <= group.amplitude_contrast <= 1:
        return (
            f"an amplitude contrast of {group.amplitude_contrast}; it must lie between 0 and 1 "
            "(--amplitude-contrast)"
        )
    return None


def choose_pixel_size(
    stated: float | None,
    in_header: float | None,
    source: Path,
    stack: Path,
    column: str,
    notes: list[str],
) -> float:
    """Return the pixel size, Å: the table's, or else that of the image file's header.

    Parameters
    ----------
    stated, in_header
        Å per pixel according to the table and to the header; None where they do not say.
    source, stack
        The table and the image file, for messages.
    column
        The column that the table should have.
    notes
        Sentences for the user are appended here.

    Raises
    ------
    InputError
        If neither says.
    """
    if in_header == _PLACEHOLDER and stated != _PLACEHOLDER:
        in_header = None
    if stated is None:
        if in_header is None:
            raise InputError(
                f"{source} gives no pixel size, nor does the header of {stack.name}; give it with "
                f"--pixel-size, or add the column {column} (Å) to the table."
            )
        notes.append(f"The table has no {column}: {in_header:.4g} Å is from {stack.name}.")
        return in_header
    if in_header is None:
        notes.append(f"The header of {stack.name} holds no pixel size; the table's is used.")
    elif abs(in_header - stated) > _PIXEL_SIZE_TOLERANCE * stated:
        notes.append(
            f"{stack.name} says {in_header:.4g} Å per pixel, the table {stated:.4g} Å: the table's "
            "value is used."
        )
    return stated
