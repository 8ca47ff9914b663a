"""Blocks of a STAR file, with the checks that the starfile library leaves out."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import starfile

from napari_cryospin.engine.data.stack import one_line
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


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
    """

    def __init__(self, path: Path, block: str, frame: pd.DataFrame) -> None:
        self.path = path
        self.block = block
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
        """Return a column of finite numbers, shape (n,).

        Raises
        ------
        InputError
            If the column is missing, or holds something else; the message names the row.
        """
        column = pd.to_numeric(self._column(name), errors="coerce")
        values = np.asarray(column, dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InputError(
                f"{self.path}: {name} of row {bad[0] + 1} of block data_{self.block} is no finite "
                "number; the file is damaged or cut off there."
            )
        return values

    def whole_numbers(self, name: str) -> NDArray[np.int64]:
        """Return a column of whole numbers, shape (n,); errors as :meth:`numbers`."""
        values = self.numbers(name)
        if np.any(values != np.round(values)):
            raise InputError(f"{self.path}: {name} in data_{self.block} must be whole numbers.")
        return values.astype(np.int64)

    def texts(self, name: str) -> list[str]:
        """Return a column of texts.

        Raises
        ------
        InputError
            If the column is missing or has an empty entry.
        """
        column = self._column(name)
        empty = np.flatnonzero(column.isna())
        if len(empty):
            raise InputError(
                f"{self.path}: row {empty[0] + 1} of block data_{self.block} has no {name}; the "
                "file is damaged or cut off there."
            )
        return [str(value) for value in column]

    def _column(self, name: str) -> pd.Series:
        if name not in self:
            raise InputError(f"{self.path}: the column {name} is missing in data_{self.block}.")
        return self._frame[name]


def read_blocks(path: Path) -> dict[str, Columns]:
    """Return the blocks of a STAR file by name (without ``data_``).

    Raises
    ------
    InputError
        If the file cannot be read, is no STAR file, or its last row is cut off.
    """
    path = path.absolute()
    # starfile reads by way of linecache, which may remember an older state of the file
    linecache.checkcache(str(path))
    try:
        # as texts: what nobody looks at goes out as it came in
        blocks = starfile.read(path, always_dict=True, parse_as_string=_names_of_columns(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or 'no such file'}.") from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a valid STAR file, or is cut off: {one_line(error)}."
        ) from error
    if not blocks:
        raise InputError(f"{path} is not a STAR file: it holds no data block.")
    return {name: _columns(path, name, block) for name, block in blocks.items()}


def _names_of_columns(path: Path) -> list[str]:
    """Return the names of all columns of all blocks, without the underscore."""
    with path.open(encoding="utf-8", errors="replace") as file:
        words = (line.split(maxsplit=1) for line in file if line.lstrip().startswith("_"))
        return sorted({first[1:] for first, *_ in words})


def _columns(path: Path, name: str, block: pd.DataFrame | dict[str, object]) -> Columns:
    frame = block if isinstance(block, pd.DataFrame) else pd.DataFrame([block])
    duplicates = frame.columns[frame.columns.duplicated()]
    if len(duplicates):
        raise InputError(f"{path}: data_{name} has two columns {duplicates[0]}.")
    if not isinstance(frame.index, pd.RangeIndex):
        raise InputError(f"{path}: rows of data_{name} have more values than it has columns.")
    last = frame.iloc[-2:, -1].isna().tolist() if frame.shape[1] else []
    if last == [False, True]:
        raise InputError(f"{path} is cut off: the last row of data_{name} is not complete.")
    return Columns(path, name, frame)
