"""The text of a STAR file: taken apart into texts as they stand there, and put together."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_FIRST_BYTES = 65_536
# read at a time: small reads, each of which lets go of Python for a moment, starve other threads
_BUFFER_BYTES = 2**22
# a value in quotes ends at a quote that a space follows; bounded, so that no line takes long
_TOKEN = re.compile(r"""(?:"(.{0,999}?)"|'(.{0,999}?)')(?=\s|$)|(\S+)""", re.ASCII)
# no other blank parts values: names may hold a no-break space
_BLANK = " \t\n\r\f\v"
# what is in need of quotes: it is empty, holds a blank, or would be taken for something else
_NEEDS_QUOTES = re.compile(r"""$|["'#_;]|data_|loop_|save_|[^\s]*\s""", re.ASCII)


@dataclass
class Block:
    """One block of a STAR file.

    Parameters
    ----------
    name
        Its name, without ``data_``.
    columns
        Names of the columns, without the underscore.
    rows
        The values of every row, as texts; one row where the block is no loop.
    loop
        Whether it is a loop.
    """

    name: str
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    loop: bool = False


def read_text(path: Path) -> dict[str, Block]:
    """Return the blocks of a STAR file by name, in the order of the file.

    Texts that are not UTF-8 are taken as Latin-1.

    Raises
    ------
    InputError
        If the file cannot be read, is no STAR file, or has a row of too few or too many values.
    """
    blocks: dict[str, Block] = {}
    block = None
    for number, line in _lines(path):
        if block is None or _is_heading(line, block):
            if line.startswith("data_"):
                block = Block((line[len("data_") :].split() or [""])[0])
                if block.name in blocks:
                    raise InputError(f"{path} has two blocks data_{block.name}: delete one.")
                blocks[block.name] = block
        else:
            _take(path, block, line, number)
    if not blocks:
        raise InputError(f"{path} is not a STAR file: it holds no data block.")
    return blocks


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither empty nor a comment, with their numbers."""
    try:
        with path.open("rb", buffering=_BUFFER_BYTES) as file:
            if b"\0" in file.read(_FIRST_BYTES):
                raise InputError(f"{path} is not a STAR file: it holds no text.")
            file.seek(0)
            for number, raw in enumerate(file, start=1):
                line = _decoded(raw).strip(_BLANK)
                if line and not line.startswith("#"):
                    yield number, line
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or 'no such file'}.") from error


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _is_heading(line: str, block: Block) -> bool:
    """Tell whether a line begins a block; a row of a loop may begin with such a word, too."""
    if not line.startswith("data_"):
        return False
    width = len(block.columns)
    return not (block.loop and width > 1 and len(_values(line)) == width)


def _take(path: Path, block: Block, line: str, number: int) -> None:
    if line.startswith("loop_") and not block.columns:
        block.loop = True
    elif line.startswith("_") and not (block.loop and block.rows):
        _take_item(path, block, line, number)
    elif block.loop and block.columns:
        values = _values(line)
        if len(values) != len(block.columns):
            raise InputError(
                f"{path} is not a valid STAR file, or is cut off: row {len(block.rows) + 1} of "
                f"data_{block.name} (line {number}) has {len(values)} values for "
                f"{len(block.columns)} columns."
            )
        # as a tuple, which the garbage collector leaves alone: with millions of lists it would
        # stop the whole program again and again
        block.rows.append(tuple(values))
    else:
        raise InputError(
            f"{path} is not a valid STAR file: line {number} belongs to no column of "
            f"data_{block.name}."
        )


def _take_item(path: Path, block: Block, line: str, number: int) -> None:
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


def text_of(block: Block) -> str:
    """Return a block as it stands in a STAR file; :func:`read_text` gives the same texts again."""
    lines = [f"data_{block.name}", ""]
    if block.loop:
        lines += ["loop_", *(f"_{name} #{i}" for i, name in enumerate(block.columns, start=1))]
        lines += ["\t".join(map(_quoted, row)) for row in block.rows]
    else:
        pairs: Sequence[tuple[str, str]] = list(zip(block.columns, *block.rows, strict=True))
        lines += [f"_{name}\t{_quoted(value)}" for name, value in pairs]
    return "\n".join([*lines, "", ""])


def encoded(text: str) -> bytes:
    """Return the bytes of the text of a STAR file: UTF-8, or Latin-1 in lines that it cannot hold.

    These are lines with names of files whose bytes are no UTF-8; they go out as they are.
    """
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
