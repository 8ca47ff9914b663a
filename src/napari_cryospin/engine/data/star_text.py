"""The text of a STAR file: taken apart into texts as they stand there, and put together."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from napari_cryospin.engine.data.star_plain import read_rows, write_rows
from napari_cryospin.engine.data.texts import ARROW_TEXT, PART, as_texts, text_frame, text_table
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

_FIRST_BYTES = 65_536
# read and taken apart at a time: python's other threads wait for each piece
_PIECE_BYTES = 2**18
# a value in quotes ends at a quote that a space follows; bounded, so that no line takes long
_TOKEN = re.compile(r"""(?:"(.{0,999}?)"|'(.{0,999}?)')(?=\s|$)|(\S+)""", re.ASCII)
# no other blank parts values: names may hold a no-break space
_BLANK = " \t\n\r\f\v"
# what is in need of quotes: it is empty, holds a blank, or would be taken for something else
_NEEDS_QUOTES = re.compile(r"""$|["'#_;]|data_|loop_|save_|[^\s]*\s""", re.ASCII)


@dataclass(frozen=True)
class Block:
    """One block of a STAR file.

    Parameters
    ----------
    name
        Its name, without ``data_``.
    frame
        Its columns, named without the underscore; values read from a file are texts, every one as
        it stands there. There is one row where the block is no loop.
    loop
        Whether it is a loop.
    """

    name: str
    frame: pd.DataFrame
    loop: bool = True


@dataclass
class _Draft:
    """A block that is being read: rows as they come, and the tables that were made of them."""

    name: str
    columns: list[str] = field(default_factory=list)
    # as tuples, which the garbage collector leaves alone: with millions of lists it would stop the
    # whole program again and again
    rows: list[tuple[str, ...]] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    loop: bool = False

    @property
    def n_rows(self) -> int:
        return len(self.rows) + sum(len(table) for table in self.tables)

    def take_in(self) -> None:
        """Make a table of the rows so far."""
        if self.rows:
            self.tables.append(text_table(self.columns, self.rows))
            self.rows = []

    def block(self) -> Block:
        self.take_in()
        if not self.tables:
            self.tables.append(text_table(self.columns, []))
        return Block(self.name, text_frame(pa.concat_tables(self.tables)), self.loop)


def read_text(path: Path) -> dict[str, Block]:
    """Return the blocks of a STAR file by name, in the order of the file.

    Texts that are not UTF-8 are taken as Latin-1.

    Raises
    ------
    InputError
        If the file cannot be read, is no STAR file, or has a row of too few or too many values.
    """
    drafts: dict[str, _Draft] = {}
    draft = None
    for first, piece in _pieces(path):
        if draft is not None and draft.loop and draft.n_rows:
            table = read_rows(piece, draft.columns)
            if table is not None:
                draft.tables.append(table)
                continue
        for number, line in _lines(piece, first):
            if draft is None or _is_heading(line, draft):
                if line.startswith("data_"):
                    draft = _Draft((line[len("data_") :].split() or [""])[0])
                    if draft.name in drafts:
                        raise InputError(f"{path} has two blocks data_{draft.name}: delete one.")
                    drafts[draft.name] = draft
            else:
                _take(path, draft, line, number)
        if draft is not None and draft.loop:
            draft.take_in()
    if not drafts:
        raise InputError(f"{path} is not a STAR file: it holds no data block.")
    return {name: draft.block() for name, draft in drafts.items()}


def _pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the file by pieces of whole lines, with the number of the first line of each."""
    number = 1
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES) + file.readline():
                if number == 1 and b"\0" in piece[:_FIRST_BYTES]:
                    raise InputError(f"{path} is not a STAR file: it holds no text.")
                yield number, piece
                number += int(np.count_nonzero(np.frombuffer(piece, np.uint8) == ord("\n")))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or 'no such file'}.") from error


def _lines(piece: bytes, first: int) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither empty nor a comment, with their numbers."""
    for number, raw in enumerate(piece.split(b"\n"), start=first):
        line = _decoded(raw).strip(_BLANK)
        if line and not line.startswith("#"):
            yield number, line


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _is_heading(line: str, block: _Draft) -> bool:
    """Tell whether a line begins a block; a row of a loop may begin with such a word, too."""
    if not line.startswith("data_"):
        return False
    width = len(block.columns)
    return not (block.loop and width > 1 and len(_values(line)) == width)


def _take(path: Path, block: _Draft, line: str, number: int) -> None:
    if line.startswith("loop_") and not block.columns:
        block.loop = True
    elif line.startswith("_") and not (block.loop and block.n_rows):
        _take_item(path, block, line, number)
    elif block.loop and block.columns:
        values = _values(line)
        if len(values) != len(block.columns):
            raise InputError(
                f"{path} is not a valid STAR file, or is cut off: row {block.n_rows + 1} of "
                f"data_{block.name} (line {number}) has {len(values)} values for "
                f"{len(block.columns)} columns."
            )
        block.rows.append(tuple(values))
    else:
        raise InputError(
            f"{path} is not a valid STAR file: line {number} belongs to no column of "
            f"data_{block.name}."
        )


def _take_item(path: Path, block: _Draft, line: str, number: int) -> None:
    name, *values = _values(line)
    if name[1:] in block.columns:
        raise InputError(f"{path}: data_{block.name} has two columns {name[1:]}.")
    block.columns.append(name[1:])
    if block.loop:
        return
    if len(values) != 1:
        raise InputError(
            f"{path} is not a valid STAR file: {name} in line {number} must have one value."
        )
    block.rows = [(*block.rows[0], values[0]) if block.rows else tuple(values)]


def _values(line: str) -> list[str]:
    if "#" not in line and '"' not in line and "'" not in line:
        return line.split() if line.isascii() else re.split(f"[{_BLANK}]+", line)
    values = []
    for match in _TOKEN.finditer(line):
        if match[0].startswith("#"):
            break
        values.append(next(text for text in match.groups() if text is not None))
    return values


def text_of(block: Block) -> Iterator[bytes]:
    """Yield a block as it stands in a STAR file; :func:`read_text` gives the same texts again.

    The bytes are UTF-8, or Latin-1 in lines that it cannot hold: these have names of files whose
    bytes are no UTF-8, which go out as they are.
    """
    names = [str(name) for name in block.frame]
    if block.loop:
        head = ["loop_", *(f"_{name} #{i}" for i, name in enumerate(names, start=1))]
        yield encoded("\n".join([f"data_{block.name}", "", *head, ""]))
        for start in range(0, len(block.frame), PART):
            yield _text_of_rows(block.frame.iloc[start : start + PART])
    else:
        (row,) = _rows([as_texts(block.frame[name]) for name in block.frame])
        items = [f"_{name}\t{_quoted(value)}" for name, value in zip(names, row, strict=True)]
        yield encoded("\n".join([f"data_{block.name}", "", *items, ""]))
    yield b"\n"


def _text_of_rows(frame: pd.DataFrame) -> bytes:
    columns = [as_texts(frame[name]) for name in frame]
    with suppress(UnicodeEncodeError):
        text = write_rows([pa.array(column, ARROW_TEXT) for column in columns])
        if text is not None:
            return text
    return encoded("".join("\t".join(map(_quoted, row)) + "\n" for row in _rows(columns)))


def _rows(columns: Sequence[pa.Array | list[str]]) -> Iterator[tuple[str, ...]]:
    # the values of Arrow's arrays are no strings yet
    return zip(*(map(str, column) for column in columns), strict=True)


def encoded(text: str) -> bytes:
    """Return UTF-8, or Latin-1 in lines that it cannot hold."""
    return b"\n".join(map(_encoded_line, text.split("\n")))


def _encoded_line(line: str) -> bytes:
    for encoding, errors in (("utf-8", "strict"), ("latin-1", "surrogateescape")):
        with suppress(UnicodeEncodeError):
            return line.encode(encoding, errors)
    return line.encode("utf-8", "surrogateescape")


def can_be_told(value: str) -> bool:
    """Return whether a value can stand in a STAR file: there are no signs for all texts."""
    return not re.search(r"[\n\r]", value) and _quote_for(value) is not None


def _quote_for(value: str) -> str | None:
    """Return quotes that do not end within a value; None where both kinds do."""
    kinds = ("'", '"') if '"' in value else ('"', "'")
    return next((q for q in kinds if not re.search(rf"{q}\s", value, re.ASCII)), None)


def _quoted(value: str) -> str:
    """Return a value, in quotes where it needs them."""
    if not _NEEDS_QUOTES.match(value):
        return value
    quote = _quote_for(value) or '"'
    return f"{quote}{value}{quote}"
