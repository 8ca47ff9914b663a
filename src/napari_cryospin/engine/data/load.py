"""Reading the particle table of whatever file the user chose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.checks import check_table
from napari_cryospin.engine.data.cryosparc import read_cs
from napari_cryospin.engine.data.given import Given
from napari_cryospin.engine.data.locate import is_file
from napari_cryospin.engine.data.stack import read_header
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from napari_cryospin.engine.settings import DataSettings

_STACK_SUFFIXES = (".mrcs", ".mrc", ".st")


def read_table(
    path: str | Path, *, passthrough: str | Path | None = None, given: Given | None = None
) -> ParticleTable:
    """Return the particle table of a RELION, cryoSPARC or MRC file.

    Missing image files are told in the table's notes; they are an error only when images are read.

    Parameters
    ----------
    path
        ``.star``, ``.cs``, or a bare stack ``.mrcs``, ``.mrc``, ``.st``.
    passthrough
        cryoSPARC's passthrough file, for a ``.cs`` that has no images or CTF of its own.
    given
        Where the images are, and values that win over those of the table.

    Raises
    ------
    InputError
        If the file cannot be used; the message is one sentence.
    """
    path, given = Path(path), given or Given()
    given.require_folder()
    suffix = path.suffix.lower()
    if suffix not in (".star", ".cs", *_STACK_SUFFIXES):
        raise InputError(f"{path} is not a .star, .cs, .mrcs, .mrc or .st file.")
    if not is_file(path):
        raise InputError(f"There is no file {path}.")
    if passthrough is not None and suffix != ".cs":
        raise InputError(f"A passthrough file goes with a .cs file, not with {path.name}.")
    if suffix == ".cs":
        return read_cs(path, None if passthrough is None else Path(passthrough), given)
    return read_star(path, given) if suffix == ".star" else _bare_stack(path, given)


def of_settings(data: DataSettings) -> ParticleTable:
    """Return the particle table that the settings of a run name; errors as above."""
    if data.stack is None:
        raise InputError("No particle stack was chosen: give a .star, .cs or .mrcs file.")
    return read_table(data.stack, passthrough=data.passthrough, given=Given.of(data))


def _bare_stack(path: Path, given: Given) -> ParticleTable:
    header = read_header(path)
    notes = ["A bare stack has no metadata: the images are used without CTF and known poses."]
    pixel_size = header.pixel_size or 1.0
    if header.pixel_size is None and given.pixel_size is None:
        notes.append(
            "Its header holds no pixel size: 1 Å is assumed, so lengths are in pixels "
            "(give it with --pixel-size)."
        )
    optics = (OpticsGroup("opticsGroup1", pixel_size, header.box),)
    table = ParticleTable(
        source=path,
        stacks=(path.absolute(),),
        stack_index=np.zeros(header.n_images, np.int64),
        image_index=np.arange(header.n_images),
        optics=given.over(optics, [] if header.pixel_size is None else notes),
        optics_index=np.zeros(header.n_images, np.int64),
        notes=tuple(notes),
    )
    return check_table(table)
