"""Mutations of files: what disks, copies, scripts and editors do to them."""

from __future__ import annotations

import gzip
import re
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.random import Generator

_NUMBERS_TEXT = b"""nan inf -inf -1 0 -0 1 2 3 1e308 -1e308 1e-308 1e400 1e20 1e10 1e300 0x10 1_000
65536 2147483647 2147483648 4294967296 99999999999999999999 True None abc @ . - + 1. .5 1,5"""
_NUMBERS = _NUMBERS_TEXT.split()
_BYTES = (
    b"\xff\xfe",
    b"\xe4",
    b"\0",
    b"\n\n\n",
    b"\r",
    b"\t",
    b"#",
    b'"',
    b"'",
    b"data_",
    b"loop_",
)
_BYTES += (b"_rln", b" " * 300, b"A" * 9000, b"9" * 5000, b"(" * 300, b"[" * 300, "\u0661".encode())
_TYPES = (b"|V4", b"|O", b"<U9", b"|S3", b"<f8", b">f4", b"<c8", b"|b1", b"<M8[s]", b"<i8", b"<f2")
_WORDS = (0, 1, 2, 4, 6, 12, -1, 2**31 - 1, -(2**31), 2**30, 10**9, 65536, 0x7FC00000, 0x7F800000)
_SIZE = re.compile(rb"-?\d[\d.]*(?:[eE][-+]?\d+)?")
_TYPE = re.compile(rb"[<>|=][a-zA-Z]\d+")
_HEADER = 1300

Mutation = "Callable[[bytes, Generator], bytes]"


def mutate_file(source: Path, folder: Path, rng: Generator) -> Path:
    """Write a mutated copy of a file to a folder and return it; the suffixes stay."""
    name = source.name
    target = folder / f"case{name[name.index('.') :]}"
    raw = source.read_bytes()
    if target.suffix == ".gz" and rng.random() < 0.7:
        target.write_bytes(gzip.compress(mutated(gzip.decompress(raw), rng), 1))
    else:
        target.write_bytes(mutated(raw, rng))
    return target


def mutate_folder(source: Path, folder: Path, rng: Generator) -> Path:
    """Copy a folder, mutate one file in it, and return the copy."""
    target = folder / "case"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    file = files[rng.integers(len(files))]
    file.write_bytes(mutated(file.read_bytes(), rng))
    return target


def mutated(raw: bytes, rng: Generator) -> bytes:
    """Return bytes with a few mutations, of text, of binary fields, or of both."""
    text = b"\0" not in raw[:_HEADER]
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        kinds = _TEXT if text else (*_BINARY, _replace_number, _replace_type)
        raw = kinds[rng.integers(len(kinds))](raw, rng)
    return raw


def _at(raw: bytes, rng: Generator) -> int:
    """Return a place, in binary files mostly in the header."""
    near = b"\0" in raw[:_HEADER] and rng.random() < 0.7
    return int(rng.integers(max(1, min(len(raw), _HEADER) if near else len(raw))))


def _flip_bits(raw: bytes, rng: Generator) -> bytes:
    changed = bytearray(raw or b"\0")
    for _ in range(int(rng.integers(1, 12))):
        changed[_at(raw, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _truncate(raw: bytes, rng: Generator) -> bytes:
    return raw[: _at(raw, rng)]


def _delete(raw: bytes, rng: Generator) -> bytes:
    place = _at(raw, rng)
    return raw[:place] + raw[place + int(rng.integers(1, 200)) :]


def _double(raw: bytes, rng: Generator) -> bytes:
    place = _at(raw, rng)
    return raw[: place + int(rng.integers(1, 400))] + raw[place:]


def _insert(raw: bytes, rng: Generator) -> bytes:
    place = _at(raw, rng)
    return raw[:place] + _BYTES[rng.integers(len(_BYTES))] + raw[place:]


def _set_word(raw: bytes, rng: Generator) -> bytes:
    place = _at(raw, rng) // 4 * 4
    order = ("little", "big")[rng.integers(2)]
    value = _WORDS[rng.integers(len(_WORDS))] % 2**32
    return raw[:place] + value.to_bytes(4, order) + raw[place + 4 :]


def _replace_number(raw: bytes, rng: Generator) -> bytes:
    return _replace(_SIZE, _NUMBERS, raw, rng)


def _replace_type(raw: bytes, rng: Generator) -> bytes:
    return _replace(_TYPE, _TYPES, raw, rng)


def _replace(
    pattern: re.Pattern[bytes], values: tuple[bytes, ...] | list[bytes], raw: bytes, rng: Generator
) -> bytes:
    found = list(pattern.finditer(raw[:20_000]))
    if not found:
        return raw
    match = found[rng.integers(len(found))]
    value = values[rng.integers(len(values))]
    return _resized(raw[: match.start()] + value + raw[match.end() :], raw, match.start())


def _resized(changed: bytes, raw: bytes, place: int) -> bytes:
    """Return the bytes with the length of numpy's header set right, where that was changed."""
    size = int.from_bytes(raw[8:10], "little")
    if not raw.startswith(b"\x93NUMPY") or not 10 <= place < 10 + size:
        return changed
    size = (size + len(changed) - len(raw)) % 2**16
    return changed[:8] + size.to_bytes(2, "little") + changed[10:]


def _on_lines(change: Callable[[list[bytes], int, Generator], None]) -> Mutation:
    def mutation(raw: bytes, rng: Generator) -> bytes:
        lines = raw.split(b"\n")
        change(lines, int(rng.integers(len(lines))), rng)
        return b"\n".join(lines)

    return mutation


def _on_fields(change: Callable[[list[bytes], int, Generator], None]) -> Mutation:
    def mutation(lines: list[bytes], row: int, rng: Generator) -> None:
        fields = lines[row].split(b" ")
        change(fields, int(rng.integers(len(fields))), rng)
        lines[row] = b" ".join(fields)

    return _on_lines(mutation)


def _drop(items: list[bytes], i: int, rng: Generator) -> None:
    del items[i]


def _repeat(items: list[bytes], i: int, rng: Generator) -> None:
    items[i:i] = [items[i]] * int(rng.choice([1, 2, 50]))


def _swap(items: list[bytes], i: int, rng: Generator) -> None:
    j = int(rng.integers(len(items)))
    items[i], items[j] = items[j], items[i]


def _put_number(items: list[bytes], i: int, rng: Generator) -> None:
    items[i] = _NUMBERS[rng.integers(len(_NUMBERS))]


_TEXT = (
    _flip_bits,
    _truncate,
    _delete,
    _double,
    _insert,
    _replace_number,
    _replace_number,
    *(on(change) for on in (_on_lines, _on_fields) for change in (_drop, _repeat, _swap)),
    _on_fields(_put_number),
)
_BINARY = (_flip_bits, _truncate, _delete, _double, _insert, _set_word, _set_word, _set_word)
