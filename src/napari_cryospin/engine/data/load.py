"""Open particles whatever file the user chose."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_cryospin.engine.data.checks import check_table
from napari_cryospin.engine.data.cryosparc import read_cs
from napari_cryospin.engine.data.stack import read_header
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable
from napari_cryospin.engine.errors import InputError

_STACK_SUFFIXES = (".mrcs", ".mrc", ".st")


def open_particles(path: Path, *, passthrough: Path | None = None) -> ParticleTable:
    """Return the particle table of a RELION, cryoSPARC or MRC file.

    Missing image files are told in the table's notes; they are an error only when images are read.

    Parameters
    ----------
    path
        ``.star``, ``.cs``, or a bare stack ``.mrcs``, ``.mrc``, ``.st``.
    passthrough
        cryoSPARC's passthrough file, for a ``.cs`` that has no images or CTF of its own.

    Raises
    ------
    InputError
        If the file cannot be used; the message is one sentence.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".star", ".cs", *_STACK_SUFFIXES):
        raise InputError(f"{path} is not a .star, .cs, .mrcs, .mrc or .st file.")
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if passthrough is not None and suffix != ".cs":
        raise InputError(f"A passthrough file goes with a .cs file, not with {path.name}.")
    if suffix == ".cs":
        return read_cs(path, passthrough)
    return read_star(path) if suffix == ".star" else _bare_stack(path)


def _bare_stack(path: Path) -> ParticleTable:
    header = read_header(path)
    notes = ["A bare stack has no metadata: the images are used without CTF and known poses."]
    pixel_size = header.pixel_size or 1.0
    if header.pixel_size is None:
        notes.append("Its header holds no pixel size: 1 Å is assumed, so lengths are in pixels.")
    table = ParticleTable(
        source=path,
        stacks=(path.absolute(),),
        stack_index=np.zeros(header.n_images, np.int64),
        image_index=np.arange(header.n_images),
        optics=(OpticsGroup("opticsGroup1", pixel_size, header.box),),
        optics_index=np.zeros(header.n_images, np.int64),
        notes=tuple(notes),
    )
    return check_table(table)
