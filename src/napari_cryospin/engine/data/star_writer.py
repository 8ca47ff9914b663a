"""Write particle tables as RELION 3.1+ STAR files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import starfile

from napari_cryospin.engine.geometry.rotations import euler_from_matrices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_cryospin.engine.data.table import ParticleTable

# STAR files cannot tell contrast; RELION skips blocks that it does not know
CONTRAST_BLOCK = "cryospin"
PARTICLES_ARE_WHITE = "cryospinParticlesAreWhite"


def write_star(
    path: Path,
    table: ParticleTable,
    rows: NDArray[np.int64],
    *,
    rotations: ArrayLike | None,
    shifts: ArrayLike | None,
    half_set: ArrayLike | None = None,
    image_names: Sequence[str] | None = None,
) -> None:
    """Write rows of a particle table with their poses, for RELION 3.1 or later.

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
    image_names
        Names such as ``000001@particles.mrcs`` instead of the table's own, n of them.
    """
    path = Path(path)
    rows = np.asarray(rows, dtype=np.int64)
    if half_set is None and table.half_set is not None:
        half_set = table.half_set[rows]
    particles: dict[str, Any] = {
        "rlnImageName": image_names or _image_names(path, table, rows),
        "rlnOpticsGroup": table.optics_index[rows] + 1,
        **_ctf_columns(table, rows),
    }
    if rotations is not None:
        angles = euler_from_matrices(rotations).T
        particles |= dict(zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), angles, strict=True))
    if shifts is not None:
        x, y = np.asarray(shifts, dtype=np.float64).T
        particles |= {"rlnOriginXAngst": x, "rlnOriginYAngst": y}
    if half_set is not None:
        particles |= {"rlnRandomSubset": np.asarray(half_set, dtype=np.int64)}
    blocks = {"optics": _optics_block(table), "particles": pd.DataFrame(particles)}
    if not table.particles_are_white:
        blocks[CONTRAST_BLOCK] = pd.DataFrame({PARTICLES_ARE_WHITE: [0]})
    _write(path, blocks)


def _write(path: Path, blocks: dict[str, pd.DataFrame]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        starfile.write(blocks, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _image_names(path: Path, table: ParticleTable, rows: NDArray[np.int64]) -> list[str]:
    stacks = [_stack_name(stack, path.absolute().parent) for stack in table.stacks]
    pairs = zip(table.image_index[rows], table.stack_index[rows], strict=True)
    return [f"{image + 1:06d}@{stacks[stack]}" for image, stack in pairs]


def _stack_name(stack: Path, folder: Path) -> str:
    stack = stack.absolute()
    name = stack.relative_to(folder) if stack.is_relative_to(folder) else stack
    # RELION takes .mrc for a volume unless told that it is a stack
    return name.as_posix() + ("" if stack.suffix == ".mrcs" else ":mrcs")


def _ctf_columns(table: ParticleTable, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    if table.defocus is None:
        return {}
    return {
        "rlnDefocusU": table.defocus.u[rows],
        "rlnDefocusV": table.defocus.v[rows],
        "rlnDefocusAngle": table.defocus.angle[rows],
        "rlnPhaseShift": table.defocus.phase_shift[rows],
    }


def _optics_block(table: ParticleTable) -> pd.DataFrame:
    groups = table.optics
    columns = {
        "rlnOpticsGroup": range(1, len(groups) + 1),
        "rlnOpticsGroupName": [group.name for group in groups],
        "rlnVoltage": [group.voltage for group in groups],
        "rlnSphericalAberration": [group.spherical_aberration for group in groups],
        "rlnAmplitudeContrast": [group.amplitude_contrast for group in groups],
        "rlnImagePixelSize": [group.pixel_size for group in groups],
        "rlnImageSize": [group.box for group in groups],
        "rlnImageDimensionality": [2] * len(groups),
    }
    return pd.DataFrame(columns).dropna(axis="columns")
