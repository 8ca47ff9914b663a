"""Rows of a STAR file as nearly all are, without quotes and comments: many are taken at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from napari_cryospin.engine.data.texts import ARROW_TEXT, one_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPACE, _NEWLINE, _TAB = b" \n\t"
_OTHER_BLANKS = b"\t\r\f\v"
_TO_SPACES = bytes.maketrans(_OTHER_BLANKS, b" " * len(_OTHER_BLANKS))
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# a value that begins with one of these may be more than it seems
_QUOTES_AND_COMMENT = b"\"'#"
# a value that is written must not begin with these; an empty one is followed by a blank
_NEEDS_QUOTES = _QUOTES_AND_COMMENT + b"_;\t\n"
_WORDS = (b"data_", b"loop_", b"save_")
_ODD = (b" ", b"\r", b"\f", b"\v", *(before + word for word in _WORDS for before in (b"\t", b"\n")))


def read_rows(text: bytes, columns: Sequence[str]) -> pa.Table | None:
    """Return whole lines of a loop as a table of texts.

    Parameters
    ----------
    text
        The lines, the last with its line end.
    columns
        Names of the columns, two at least: a line that is no row has another number of values.

    Returns
    -------
    Table
        None where the lines are not plainly rows: then they must be looked at one by one.
    """
    ascii_only = text.isascii()
    if len(columns) < 2 or (not ascii_only and _BYTE_ORDER_MARK in text):
        return None
    text = _single_blanks(text)
    if any(sign in text for sign in _QUOTES_AND_COMMENT) and _begins(text, _QUOTES_AND_COMMENT):
        return None
    types = dict.fromkeys(columns, ARROW_TEXT)
    try:
        return csv.read_csv(
            pa.py_buffer(text),
            csv.ReadOptions(use_threads=False, column_names=columns, block_size=len(text) + 1),
            csv.ParseOptions(delimiter=" ", quote_char=False),
            csv.ConvertOptions(column_types=types, check_utf8=not ascii_only),
        )
    except pa.ArrowInvalid:
        # a row of too few or too many values, another block, or no UTF-8
        return None


def _single_blanks(text: bytes) -> bytes:
    """Return lines with one space between values and none around them."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if any(blank in text for blank in _OTHER_BLANKS):
        text = text.translate(_TO_SPACES)
    signs = np.frombuffer(text, np.uint8)
    blank, end = signs == _SPACE, signs == _NEWLINE
    # the last blank before a value stays: at the beginning of a line, too
    needless = blank.copy()
    needless[:-1] &= (blank | end)[1:]
    if needless.any():
        text = signs[~needless].tobytes()
    if blank[:1].any() or (end[:-1] & blank[1:]).any():
        text = text.replace(b"\n ", b"\n").removeprefix(b" ")
    return text


def _begins(text: bytes, with_one_of: bytes) -> bool:
    """Tell whether a value begins with one of some signs."""
    signs = np.frombuffer(text, np.uint8)
    table = np.zeros(256, bool)
    table[list(with_one_of)] = True
    apart = np.zeros(256, bool)
    apart[[_SPACE, _TAB, _NEWLINE]] = True
    return bool(table[signs[:1]].any() or table[signs[1:][apart[signs[:-1]]]].any())


def write_rows(columns: Sequence[pa.Array]) -> bytes | None:
    """Return the lines of a loop, values parted by tabs; None where a value needs quotes.

    Parameters
    ----------
    columns
        The texts of each column, shape (n,) each; n is at least 1.
    """
    lines = pc.binary_join_element_wise(*columns, one_text("\t"))
    ended = pc.binary_join_element_wise(lines, one_text(""), one_text("\n"))
    # the third buffer of an array of texts is all of them, one after the other
    text: bytes = ended.buffers()[2].to_pybytes()
    signs = np.frombuffer(text, np.uint8)
    n_values = np.count_nonzero(signs == _TAB) + np.count_nonzero(signs == _NEWLINE)
    if n_values != len(columns) * len(lines) or _begins(text, _NEEDS_QUOTES):
        return None
    return None if text.startswith(_WORDS) or any(each in text for each in _ODD) else text
