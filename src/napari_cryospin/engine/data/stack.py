"""Particle stacks: what their headers say, and reading single images of a particle table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.locate import is_file, missing_sentence
from napari_cryospin.engine.data.mrc import read_layout
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.mrc import MrcLayout
    from napari_cryospin.engine.data.table import ParticleTable


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


def stack_layout(path: Path) -> MrcLayout:
    """Return the layout of a stack of square images.

    Raises
    ------
    InputError
        If the file is missing, packed, no MRC file or cut off, or its images are not square.
    """
    if path.suffix.lower() in (".gz", ".bz2", ".zip", ".xz"):
        raise InputError(
            f"{path} is packed, and single images cannot be read from it: unpack it, and name the "
            "unpacked file in the table."
        )
    layout = read_layout(path)
    _, rows, columns = layout.shape
    if rows != columns:
        raise InputError(
            f"{path} holds images of {columns} x {rows} pixels; particle images must be square, so "
            "extract them again with a square box."
        )
    return layout


def one_line(error: Exception) -> str:
    """Return the message of an exception on one line, without the full stop."""
    return " ".join(str(error).split()).rstrip(".")


def read_header(path: Path) -> StackHeader:
    """Return what the header of an image file says; errors as :func:`stack_layout`."""
    layout = stack_layout(path)
    return StackHeader(layout.shape[0], layout.shape[-1], layout.pixel_size)


def missing_stacks(table: ParticleTable) -> str | None:
    """Return a sentence about image files that do not exist, or None when all are there."""
    missing = [path for path in table.stacks if not is_file(path)]
    return missing_sentence(table.source, missing) if missing else None


def with_missing_stacks(table: ParticleTable) -> ParticleTable:
    """Return the table with a note when image files are missing."""
    problem = missing_stacks(table)
    return replace(table, notes=(*table.notes, problem)) if problem else table


class StackReader:
    """Reads images of a particle table; files are never read as a whole.

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
        self._layouts = [
            self._checked(path, order[starts[i] : starts[i + 1]])
            for i, path in enumerate(table.stacks)
        ]

    def _checked(self, path: Path, rows: NDArray[np.int64]) -> MrcLayout:
        layout = stack_layout(path)
        n_images, _, box = layout.shape
        beyond = self._table.image_index[rows] >= n_images
        if beyond.any():
            number = int(self._table.image_index[rows][beyond][0]) + 1
            raise InputError(
                f"{self._table.source} asks for image {number} of {path}, which holds only "
                f"{n_images}; use the stack that belongs to the table."
            )
        wrong = self._boxes[rows] != box
        if wrong.any():
            raise InputError(
                f"{self._table.source} says images of {self._boxes[rows][wrong][0]} pixels, but "
                f"{path} holds images of {box} pixels; use the stack that belongs to it."
            )
        return layout

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the raw images of rows of the table, shape (n, D, D); they must share one box.

        Raises
        ------
        InputError
            If an image file was cut short or replaced since the reader was made.
        """
        rows = np.asarray(rows, dtype=np.int64)
        box = int(self._boxes[rows[0]])
        result = np.empty((len(rows), box, box), np.float32)
        stacks = self._table.stack_index[rows]
        for stack in np.unique(stacks):
            here = np.flatnonzero(stacks == stack)
            result[here] = self._layouts[stack].read(self._table.image_index[rows[here]])
        return result
