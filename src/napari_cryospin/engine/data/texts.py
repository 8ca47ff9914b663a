"""Columns of texts, millions of them: pandas' own, whose texts lie in Arrow's memory.

There each text takes its bytes and one offset, where a Python string takes 50 bytes more, and what
is done to a whole column lets other threads go on.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

# what pandas 3 takes for texts by itself, and pandas 2.3 if told
TEXT = pd.StringDtype("pyarrow", na_value=np.nan)
ARROW_TEXT = pa.large_string()
# rows that are taken at a time: python's other threads wait for each part
PART = 20_000
_SIX_DECIMALS = pa.decimal128(38, 6)


def text_frame(table: pa.Table) -> pd.DataFrame:
    """Return a table of texts as a frame; nothing is copied."""
    return table.to_pandas(types_mapper={ARROW_TEXT: TEXT}.get)


def text_table(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> pa.Table:
    """Return rows of texts as a table."""
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pa.table(
        dict(zip(columns, (pa.array(x, ARROW_TEXT) for x in values), strict=True)),
    )


def one_text(value: str) -> pa.Scalar:
    """Return a text as Arrow's functions take it beside columns of texts."""
    return pa.scalar(value, ARROW_TEXT)


def rows_of(frame: pd.DataFrame, rows: NDArray[np.int64]) -> pd.DataFrame:
    """Return rows of a frame, numbered from 0; all of them, in their order, are not copied."""
    if np.array_equal(rows, np.arange(len(frame))):
        return frame.copy(deep=False)
    return frame.iloc[rows].reset_index(drop=True)


def in_parts(column: pd.Series) -> Iterator[tuple[slice, pa.Array]]:
    """Yield a column of texts by parts, with the rows that each part holds."""
    for start in range(0, len(column), PART):
        rows = slice(start, start + PART)
        yield rows, pa.array(as_texts(column.iloc[rows]), ARROW_TEXT)


def as_texts(column: pd.Series) -> pa.Array | list[str]:
    """Return the values of a column as texts: those of Arrow, or strings, which may be no UTF-8.

    Floats have six decimals; one that is no number is "nan", as RELION's.
    """
    if column.dtype == TEXT:
        chunks = pa.chunked_array(column.array.__arrow_array__()).chunks
        return pa.concat_arrays(chunks) if chunks else pa.array([], ARROW_TEXT)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        with suppress(pa.ArrowInvalid):
            # many times as fast as Python's formats; NaN is no such decimal
            decimals = pc.cast(pa.array(column.to_numpy(np.float64)), _SIX_DECIMALS)
            return pc.cast(decimals, ARROW_TEXT)
    values = column.tolist()
    return [f"{value:.6f}" if isinstance(value, float) else str(value) for value in values]


def numbers_of(column: pd.Series) -> NDArray[np.float64]:
    """Return the numbers in a column of texts or of others, (n,); NaN where there is none."""
    if column.dtype != TEXT:
        found = pd.to_numeric(column, errors="coerce")
        return np.asarray(found, np.float64)
    values = np.empty(len(column))
    for rows, texts in in_parts(column):
        try:
            values[rows] = pc.cast(texts, pa.float64())
        except pa.ArrowInvalid:
            one_by_one = texts.to_numpy(zero_copy_only=False)
            values[rows] = pd.to_numeric(one_by_one, errors="coerce")
    return values
