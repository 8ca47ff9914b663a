"""Names of images in STAR files, ``NUMBER@FILE``, a whole column at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from napari_cryospin.engine.data.texts import ARROW_TEXT, in_parts, one_text

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

# what stands for a number where a name has none, or one that is not possible
NO_NUMBER, NOT_POSSIBLE = 0, -1
# no image has a higher number: MRC files count in 32 bits
_MOST_DIGITS = 9


@dataclass(frozen=True)
class ImageNames:
    """A column of names, taken apart.

    Parameters
    ----------
    numbers
        Which image of its file each is, from 1; ``NO_NUMBER`` or ``NOT_POSSIBLE``; shape (n,).
    files
        Names of files, each once.
    file_index
        Which of ``files`` each is in, shape (n,).
    """

    numbers: NDArray[np.int64]
    files: list[str]
    file_index: NDArray[np.int64]


def taken_apart(column: pd.Series) -> ImageNames:
    """Return names of images taken apart at the first ``@``: as RELION, a file may hold another."""
    numbers = np.empty(len(column), np.int64)
    file_index = np.empty(len(column), np.int64)
    seen: dict[str, int] = {}
    for rows, texts in in_parts(column):
        with_number = pc.match_substring(texts, "@")
        if not pc.all(with_number).as_py():
            numbered = pc.binary_join_element_wise(one_text(""), texts, one_text("@"))
            texts = pc.if_else(with_number, texts, numbered)
        both = pc.split_pattern(texts, "@", max_splits=1).flatten()
        numbers[rows] = np.where(with_number, _possible(both[::2]), NO_NUMBER)
        files = both[1::2].dictionary_encode()
        known = [seen.setdefault(name, len(seen)) for name in files.dictionary.to_pylist()]
        file_index[rows] = np.array(known, np.int64)[files.indices]
    return ImageNames(numbers, list(seen), file_index)


def _possible(numbers: pa.Array) -> NDArray[np.int64]:
    """Return numbers of images; ``NOT_POSSIBLE`` where a text is none."""
    digits = pc.ascii_ltrim(numbers, "0")
    length = pc.binary_length(digits)
    usable = pc.and_(
        pc.ascii_is_decimal(numbers),
        pc.and_(pc.greater(length, 0), pc.less_equal(length, _MOST_DIGITS)),
    )
    return np.asarray(pc.cast(pc.if_else(usable, digits, one_text(str(NOT_POSSIBLE))), pa.int64()))


def put_together(
    numbers: NDArray[np.int64], files: list[str], file_index: NDArray[np.int64]
) -> pa.Array:
    """Return names of images as texts: the opposite of :func:`taken_apart`."""
    padded = pc.utf8_lpad(pc.cast(pa.array(numbers), ARROW_TEXT), 6, "0")
    names = pa.array(files, ARROW_TEXT).take(pa.array(file_index))
    return pc.binary_join_element_wise(padded, names, one_text("@"))
