"""Blocks of a STAR file as columns, which are checked when they are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.star_text import read_text
from napari_cryospin.engine.data.texts import numbers_of
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

# beyond it, floats hold no whole numbers
_LARGEST = 2**53
# single precision ends a little further
_BEYOND = 1e30


class Columns:
    """One block of a STAR file, whose columns are checked when they are taken.

    Parameters
    ----------
    path
        The file, for messages.
    block
        Name of the block, for messages.
    frame
        Its rows, as texts.
    loop
        Whether it is a loop in the file.
    """

    def __init__(self, path: Path, block: str, frame: pd.DataFrame, *, loop: bool = True) -> None:
        self.path = path
        self.block = block
        self.loop = loop
        self._frame = frame

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._frame)

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a column of that name."""
        return name in self._frame.columns

    @property
    def frame(self) -> pd.DataFrame:
        """The rows, every value as the text that stands in the file."""
        return self._frame

    def take(self, rows: NDArray[np.int64]) -> Columns:
        """Return the block with these rows only."""
        return Columns(self.path, self.block, self._frame.iloc[rows])

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers, none of them beyond all measure, shape (n,).

        Raises
        ------
        InputError
            If the column is missing, or holds something else; the message names the row.
        """
        values = numbers_of(self._column(name))
        bad = np.flatnonzero(~(np.abs(values) < _BEYOND))
        if len(bad):
            raise InputError(
                f"{self.path}: {name} of row {bad[0] + 1} of block data_{self.block} is no "
                "possible number; the file is damaged or cut off there."
            )
        return values

    def whole_numbers(self, name: str) -> NDArray[np.int64]:
        """Return a column of whole numbers, shape (n,); errors as :meth:`numbers`."""
        values = self.numbers(name)
        if np.any((values != np.round(values)) | (np.abs(values) > _LARGEST)):
            raise InputError(f"{self.path}: {name} in data_{self.block} must be whole numbers.")
        return values.astype(np.int64)

    def known_numbers(self, name: str) -> NDArray[np.float64]:
        """Return the entries of a column that are numbers; none where there is no column.

        It is for what nobody computes with, which may hold anything.
        """
        if name not in self:
            return np.empty(0)
        values = numbers_of(self._frame[name])
        return values[np.isfinite(values)]

    def texts(self, name: str) -> pd.Series:
        """Return a column of texts, shape (n,).

        Raises
        ------
        InputError
            If the column is missing or has an empty entry.
        """
        column = self._column(name)
        empty = np.flatnonzero(column == "")
        if len(empty):
            raise InputError(
                f"{self.path}: row {empty[0] + 1} of block data_{self.block} has no {name}; the "
                "file is damaged or cut off there."
            )
        return column

    def _column(self, name: str) -> pd.Series:
        if name not in self:
            raise InputError(f"{self.path}: the column {name} is missing in data_{self.block}.")
        return self._frame[name]


def read_blocks(path: Path) -> dict[str, Columns]:
    """Return the blocks of a STAR file by name (without ``data_``).

    Raises
    ------
    InputError
        If the file cannot be read, is no STAR file, or a row is cut off.
    """
    blocks = read_text(path)
    return {
        name: Columns(path, name, block.frame, loop=block.loop) for name, block in blocks.items()
    }
