"""Write particle tables as RELION 3.1+ STAR files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_cryospin.engine.data.class_columns import stale_class_columns
from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.star_blocks import PARTICLES, first_blocks
from napari_cryospin.engine.data.star_names import put_together, taken_apart
from napari_cryospin.engine.data.star_text import Block, encoded, text_of
from napari_cryospin.engine.data.texts import TEXT, numbers_of
from napari_cryospin.engine.files import writing
from napari_cryospin.engine.geometry.euler import euler_from_matrices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_cryospin.engine.data.table import ParticleTable

# STAR files cannot tell contrast; RELION skips blocks that it does not know
CONTRAST_BLOCK = "cryospin"
PARTICLES_ARE_WHITE = "cryospinParticlesAreWhite"
_NAME = "rlnImageName"
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst")
_OWN = (
    "cryospinScale",
    "cryospinMembership",
    "cryospinLogLikelihood",
    "cryospinExplained",
    "cryospinPoseWeight",
)
# what says of the same poses something that is no longer so
_OF_OTHER_POSES = (
    *("rlnOriginX", "rlnOriginY"),
    *("rlnAngleRotPrior", "rlnAngleTiltPrior", "rlnAnglePsiPrior"),
    *("rlnOriginXPrior", "rlnOriginYPrior", "rlnOriginXPriorAngst", "rlnOriginYPriorAngst"),
)


def write_star(
    path: Path,
    table: ParticleTable,
    rows: NDArray[np.int64],
    *,
    rotations: ArrayLike | None,
    shifts: ArrayLike | None,
    half_set: ArrayLike | None = None,
    scales: ArrayLike | None = None,
    membership: ArrayLike | None = None,
    log_likelihood: ArrayLike | None = None,
    explained: ArrayLike | None = None,
    pose_weights: ArrayLike | None = None,
    image_names: Sequence[str] | None = None,
    more: Mapping[str, ArrayLike] | None = None,
) -> None:
    """Write rows of a particle table with their poses, for RELION 3.1 or later.

    The file is the user's own table, text for text, with all its blocks and columns. Replaced or
    added are only: poses, ``rlnRandomSubset``, our own columns; image names where a path must
    change; what RELION does not start without (:mod:`.star_blocks`). A RELION 3.0 table gets the
    optics block of RELION 3.1. Some columns are left out where poses are written: origins
    in pixels (``rlnOriginX/Y``), which RELION itself converts to Å, and the priors of angles and
    origins (``rlnAngle…Prior``, ``rlnOrigin…Prior…``): they are told in the frame of another map,
    and RELION would search around them instead of around the poses. So are the classes of an
    earlier run, ``cryospinClass1`` and so on, with the ``rlnClassNumber`` that stands beside them.

    The file appears complete or not at all. Image files below its folder are named relative to
    it, others by their absolute path, so that RELION finds them.

    Parameters
    ----------
    path
        The STAR file.
    table
        The particle table that the rows are from.
    rows
        Rows of the table, shape (n,).
    rotations
        RELION Euler matrices, shape (n, 3, 3), or None to write no angles.
    shifts
        Origin shifts (x, y), Å, shape (n, 2), or None to write none.
    half_set
        ``rlnRandomSubset`` (1 or 2), shape (n,); by default that of the table, if it has one.
    scales
        ``cryospinScale``: what the map is multiplied with to fit each image, shape (n,).
    membership
        ``cryospinMembership``: probability that each image shows the particle, 0 to 1, shape (n,).
    log_likelihood, explained
        ``cryospinLogLikelihood`` (nats) and ``cryospinExplained``: how well the map fits each image
        at its pose, shape (n,) each. What the table holds of them, of scales, memberships, or
        weights, from other poses is left out where poses are written without them.
    pose_weights
        ``cryospinPoseWeight``: weight of each pose among its rivals, 0 to 1, shape (n,).
    image_names
        Names such as ``000001@particles.mrcs`` instead of the table's own, n of them.
    more
        Further columns by name, n values each, which take the place of the table's own.
    """
    path = Path(path)
    rows = np.asarray(rows, dtype=np.int64)
    blocks, remark = first_blocks(table, rows)
    particles = blocks[PARTICLES]
    if image_names:
        # as objects: pandas' own texts hold no names that are not UTF-8
        particles[_NAME] = pd.Series(image_names, dtype=object)
    else:
        particles[_NAME] = _image_names(path, table, rows, particles[_NAME])
    columns: dict[str, Any] = dict.fromkeys((*_ANGLES, *_ORIGINS))
    if rotations is not None:
        columns |= dict(zip(_ANGLES, euler_from_matrices(rotations).T, strict=True))
    if shifts is not None:
        columns |= dict(zip(_ORIGINS, np.asarray(shifts, dtype=np.float64).T, strict=True))
    given = (scales, membership, log_likelihood, explained, pose_weights)
    own = dict(zip(_OWN, given, strict=True))
    columns |= {
        name: None if values is None else np.asarray(values, np.float64)
        for name, values in own.items()
        if values is not None or rotations is not None
    }
    if rotations is not None:
        columns |= dict.fromkeys(stale_class_columns(particles))
    columns |= more or {}
    blocks[PARTICLES] = _with_columns(particles, columns)
    _write_half_sets(blocks[PARTICLES], table, rows, half_set)
    blocks.pop(CONTRAST_BLOCK, None)
    if not table.particles_are_white:
        blocks[CONTRAST_BLOCK] = pd.DataFrame({PARTICLES_ARE_WHITE: [0]})
    original = table.original
    single = original.single if isinstance(original, StarOriginal) else frozenset[str]()
    _write(path, blocks, remark, single - {PARTICLES})


def _with_columns(particles: pd.DataFrame, columns: dict[str, Any]) -> pd.DataFrame:
    """Return particles with columns replaced or added; those that are None are taken out."""
    gone = [name for name, values in columns.items() if values is None]
    particles = particles.drop(columns=[*gone, *_OF_OTHER_POSES], errors="ignore")
    for name, values in columns.items():
        if values is not None:
            particles[name] = values
    return particles


def _write_half_sets(
    particles: pd.DataFrame,
    table: ParticleTable,
    rows: NDArray[np.int64],
    half_set: ArrayLike | None,
) -> None:
    """Write the halves; texts that say the same already are kept."""
    name = "rlnRandomSubset"
    if half_set is None and table.half_set is not None:
        half_set = table.half_set[rows]
    if half_set is None:
        return
    wanted = np.asarray(half_set, dtype=np.int64)
    if name not in particles or not np.array_equal(numbers_of(particles[name]), wanted):
        particles[name] = wanted


def _write(
    path: Path, blocks: dict[str, pd.DataFrame], remark: str | None, single: frozenset[str]
) -> None:
    with writing(path) as file:
        if remark:
            file.write(encoded(f"# {remark}\n\n"))
        for number, (name, frame) in enumerate(blocks.items()):
            file.write(b"\n" if number else b"")
            for text in text_of(Block(name, frame, name not in single or len(frame) != 1)):
                file.write(text)


def _image_names(
    path: Path, table: ParticleTable, rows: NDArray[np.int64], own: pd.Series
) -> pd.Series:
    """Return names of images as seen from a file; texts of the table that say the same are kept."""
    stacks = [_stack_name(stack, path.absolute().parent) for stack in table.stacks]
    numbers, index = table.image_index[rows] + 1, table.stack_index[rows]
    stated = taken_apart(own)
    place = {name: number for number, name in enumerate(stacks)}
    stated_index = np.array([place.get(name, -1) for name in stated.files], np.int64)
    same = (stated.numbers == numbers) & (stated_index[stated.file_index] == index)
    if same.all():
        return own
    names = put_together(numbers, stacks, index)
    return own.where(same, pd.Series(names, dtype=TEXT))


def _stack_name(stack: Path, folder: Path) -> str:
    stack = stack.absolute()
    name = stack.relative_to(folder) if stack.is_relative_to(folder) else stack
    # RELION takes .mrc for a volume unless told that it is a stack
    return _as_text(name) + ("" if stack.suffix == ".mrcs" else ":mrcs")


def _as_text(name: Path) -> str:
    """Return a name that can be written: one that is no UTF-8 as Latin-1, as readers take it."""
    text = name.as_posix()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(name).decode("latin-1")
    return text
