"""Image files: where they are, what their headers say, and reading single images from them."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import ParticleTable

_SUFFIXES = (".mrcs", ".mrc")


@dataclass(frozen=True)
class StackHeader:
    """What an image file says of itself.

    Parameters
    ----------
    n_images
        Number of images.
    box
        Side of the images, pixels.
    pixel_size
        Å per pixel, or None where the header holds no positive number.
    """

    n_images: int
    box: int
    pixel_size: float | None


@contextmanager
def open_images(path: Path) -> Iterator[mrcfile.mrcmemmap.MrcMemmap]:
    """Open an MRC file memory-mapped; its data are (n, D, D), or (D, D) for a single image.

    Raises
    ------
    InputError
        If the file is missing, is no MRC file, is cut off, or holds no square real images.
    """
    try:
        with warnings.catch_warnings():
            # permissive mode warns of what is checked here
            warnings.simplefilter("ignore")
            images = mrcfile.mmap(path, mode="r", permissive=True)
    except FileNotFoundError as error:
        raise InputError(f"The image file {path} does not exist.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an MRC file: {one_line(error)}.") from error
    with images:
        _check(path, images)
        yield images


def _check(path: Path, images: mrcfile.mrcmemmap.MrcMemmap) -> None:
    if images.data is None:
        raise InputError(
            f"{path} is damaged or cut off: its header promises more images than the file holds; "
            "copy or extract it again."
        )
    shape = images.data.shape
    if 0 in shape:
        raise InputError(f"{path} holds no images.")
    if len(shape) not in (2, 3) or np.iscomplexobj(images.data) or images.data.dtype.names:
        raise InputError(f"{path} is no stack of real images (MRC mode {images.header.mode}).")
    if shape[-1] != shape[-2]:
        raise InputError(
            f"{path} holds images of {shape[-1]} x {shape[-2]} pixels; particle images must be "
            "square, so extract them again with a square box."
        )


def one_line(error: Exception) -> str:
    """Return the message of an exception on one line, without the full stop."""
    return " ".join(str(error).split()).rstrip(".")


def read_header(path: Path) -> StackHeader:
    """Return what the header of an image file says; errors as :func:`open_images`."""
    with open_images(path) as images:
        shape = images.data.shape
        pixel_size = float(images.voxel_size.x)
    known = np.isfinite(pixel_size) and pixel_size > 0
    return StackHeader(shape[0] if len(shape) == 3 else 1, shape[-1], pixel_size if known else None)


def find_stack(name: Path, folder: Path, *, beside: bool = False) -> Path:
    """Return where an image file named in a table is.

    Names are relative to the table's folder or to a folder above it (the project's). With
    ``beside``, a file of the same name next to the table will do, as .mrc or .mrcs: cryoSPARC
    tables are often moved together with their images.

    Returns
    -------
    Path
        The file; where there is none, the place next to the table where it was expected.
    """
    folder = folder.absolute()
    places = [base / name for base in (folder, *folder.parents)]
    if beside:
        places += [(folder / name.name).with_suffix(s) for s in (name.suffix, *_SUFFIXES)]
    return next((place for place in places if place.is_file()), folder / name)


def missing_stacks(table: ParticleTable) -> str | None:
    """Return a sentence about image files that do not exist, or None when all are there."""
    missing = [path for path in table.stacks if not path.is_file()]
    if not missing:
        return None
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return (
        f"{table.source}: the image file {missing[0]}{more} was not found, nor the same path below "
        f"any folder above {table.source.absolute().parent}; put the images there."
    )


def with_missing_stacks(table: ParticleTable) -> ParticleTable:
    """Return the table with a note when image files are missing."""
    problem = missing_stacks(table)
    return replace(table, notes=(*table.notes, problem)) if problem else table


class StackReader:
    """Reads images of a particle table; files are memory-mapped, never read as a whole.

    Parameters
    ----------
    table
        The particle table.

    Raises
    ------
    InputError
        If an image file is missing or damaged, or does not have the images that the table names.
    """

    def __init__(self, table: ParticleTable) -> None:
        problem = missing_stacks(table)
        if problem:
            raise InputError(problem)
        self._table = table
        self._boxes = np.array([group.box for group in table.optics])[table.optics_index]
        order = np.argsort(table.stack_index, kind="stable")
        starts = np.searchsorted(table.stack_index[order], np.arange(len(table.stacks) + 1))
        for i, path in enumerate(table.stacks):
            self._check(path, order[starts[i] : starts[i + 1]])

    def _check(self, path: Path, rows: NDArray[np.int64]) -> None:
        header = read_header(path)
        beyond = self._table.image_index[rows] >= header.n_images
        if beyond.any():
            number = int(self._table.image_index[rows][beyond][0]) + 1
            raise InputError(
                f"{self._table.source} asks for image {number} of {path}, which holds only "
                f"{header.n_images}; use the stack that belongs to the table."
            )
        wrong = self._boxes[rows] != header.box
        if wrong.any():
            raise InputError(
                f"{self._table.source} says images of {self._boxes[rows][wrong][0]} pixels, but "
                f"{path} holds images of {header.box} pixels; use the stack that belongs to it."
            )

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the raw images of rows of the table, shape (n, D, D); they must share one box."""
        rows = np.asarray(rows, dtype=np.int64)
        box = int(self._boxes[rows[0]])
        result = np.empty((len(rows), box, box), np.float32)
        stacks = self._table.stack_index[rows]
        for stack in np.unique(stacks):
            here = np.flatnonzero(stacks == stack)
            with open_images(self._table.stacks[stack]) as images:
                data = images.data.reshape(-1, box, box)
                result[here] = data[self._table.image_index[rows[here]]]
        return result
