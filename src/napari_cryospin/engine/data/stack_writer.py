"""Write images of a particle table to stacks of their own, with the contrast turned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np

from napari_cryospin.engine.data.original import CryosparcOriginal, StarOriginal
from napari_cryospin.engine.data.stack import StackReader
from napari_cryospin.engine.data.texts import rows_of
from napari_cryospin.engine.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable

_CHUNK_BYTES = 64 * 2**20
_HEADER_BYTES = 1024
# what the MRC format says of statistics that nobody has computed: smallest above largest
_NO_STATISTICS = {"dmin": 0, "dmax": -1, "dmean": -2, "rms": -1}


def inverted_paths(path: Path, table: ParticleTable) -> list[Path]:
    """Return the stacks that :func:`write_inverted` makes: one for each size of images."""
    sizes = _sizes(table)
    if len(sizes) == 1:
        return [path]
    return [path.with_name(f"{path.stem}_{i + 1}{path.suffix}") for i in range(len(sizes))]


def write_inverted(
    path: Path, table: ParticleTable, progress: Callable[[int, int], None] | None = None
) -> ParticleTable:
    """Write all images of a table times −1, some at a time, and return the table that names them.

    Parameters
    ----------
    path
        The stack; where the images have several sizes, its name is numbered.
    table
        The particle table.
    progress
        Called with the number of images done and their total.

    Raises
    ------
    InputError
        If images are missing or damaged.
    """
    reader, sizes, done = StackReader(table), _sizes(table), 0
    paths = inverted_paths(path, table)
    stack_index = np.zeros(table.n_particles, np.int64)
    image_index = np.zeros(table.n_particles, np.int64)
    for number, (target, groups) in enumerate(zip(paths, sizes.values(), strict=True)):
        rows = np.flatnonzero(np.isin(table.optics_index, groups))
        stack_index[rows], image_index[rows] = number, np.arange(len(rows))
        optics = table.optics[groups[0]]
        with replacing(target) as temporary, temporary.open("r+b") as file:
            file.write(_header(temporary, optics, len(rows)))
            for part in _chunks(rows, optics.box):
                (-reader.read(part)).astype("<f4").tofile(file)
                done += len(part)
                if progress:
                    progress(done, table.n_particles)
    return replace(
        table,
        stacks=tuple(target.absolute() for target in paths),
        stack_index=stack_index,
        image_index=image_index,
        particles_are_white=not table.particles_are_white,
    )


def only(table: ParticleTable, rows: NDArray[np.int64]) -> ParticleTable:
    """Return a table with these rows (n,) only, the user's own rows among them."""
    original = table.original
    if isinstance(original, StarOriginal):
        particles = rows_of(original.blocks[original.particles], rows)
        blocks = original.blocks | {original.particles: particles}
        original = replace(original, blocks=blocks)
    elif isinstance(original, CryosparcOriginal):
        original = CryosparcOriginal({name: x[rows] for name, x in original.fields.items()})
    defocus = table.defocus
    if defocus is not None:
        parts = {name: values[rows] for name, values in vars(defocus).items()}
        defocus = replace(defocus, **parts)
    return replace(
        table,
        stack_index=table.stack_index[rows],
        image_index=table.image_index[rows],
        optics_index=table.optics_index[rows],
        defocus=defocus,
        rotations=None if table.rotations is None else table.rotations[rows],
        shifts=None if table.shifts is None else table.shifts[rows],
        half_set=None if table.half_set is None else table.half_set[rows],
        original=original,
    )


def _sizes(table: ParticleTable) -> dict[tuple[int, float], list[int]]:
    """Return the optics groups in use by box and pixel size, which are a whole stack's."""
    sizes: dict[tuple[int, float], list[int]] = {}
    for number in np.unique(table.optics_index).tolist():
        optics = table.optics[number]
        sizes.setdefault((optics.box, optics.pixel_size), []).append(number)
    return sizes


def _chunks(rows: NDArray[np.int64], box: int) -> list[NDArray[np.int64]]:
    return np.array_split(rows, max(1, -(-len(rows) * 4 * box**2 // _CHUNK_BYTES)))


def _header(path: Path, optics: OpticsGroup, n: int) -> bytes:
    """Return the header of a stack of n images, by way of a stack of one."""
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(np.zeros((1, optics.box, optics.box), np.float32))
        mrc.set_image_stack()
        mrc.voxel_size = optics.pixel_size
        mrc.header.nz = n
        for name, value in _NO_STATISTICS.items():
            mrc.header[name] = value
        return bytes(mrc.header.tobytes())
