"""Damage to files of run folders: to their bytes, or to a value of what they hold."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w
import torch

if TYPE_CHECKING:
    import random
    from pathlib import Path

_WORDS = [b"-1", b"0", b"1e999", b"nan", b"inf", b"99999999999999999999", b"", b"x", b"\xff", b"\0"]
_ODD: list[Any] = [None, -1, 0, 2**63, 1e300, float("nan"), "", "x", [], {}, [1], True]


def damage(path: Path, rng: random.Random) -> str:
    """Damage a file, and say how."""
    inside = {
        ".pt": _damage_checkpoint,
        ".npy": _damage_poses,
        ".json": _damage_json,
        ".toml": _damage_toml,
        ".csv": _damage_cells,
    }.get(path.suffix)
    if inside is not None and rng.random() < 0.6:
        inside(path, rng)
        return "values"
    path.write_bytes(damaged(path.read_bytes(), rng))
    return "bytes"


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to four changes."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _change(content, rng)
    return bytes(content)


def _change(content: bytearray, rng: random.Random) -> None:
    size = len(content)
    # headers are short, and matter most
    reach = rng.choice((size, min(size, 1100), min(size, 128)))
    place = rng.randrange(reach + 1)
    length = min(rng.choice((1, 1, 2, 4, 8, 64, 1000)), size - place)
    match rng.randrange(9):
        case 0 if place < size:
            content[place] ^= 1 << rng.randrange(8)
        case 1:
            content[place : place + length] = rng.randbytes(length)
        case 2:
            content[place:place] = rng.randbytes(length)
        case 3:
            del content[place : place + length]
        case 4:
            del content[place:]
        case 5:
            content[place : place + length] = bytes(length)
        case 6:
            content[place:place] = content[place : place + length]
        case 7:
            content[place : place + length] = rng.choice(_WORDS)
        case _:
            lines = content.split(b"\n")
            rng.shuffle(lines)
            content[:] = b"\n".join(lines)


def damaged_values(value: Any, rng: random.Random) -> Any:
    """Return nested values with one of them replaced, removed or renamed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        changed = dict(value)
        name = rng.choice(list(changed))
        kept = changed.pop(name)
        if rng.random() < 0.85:
            changed[name] = damaged_values(kept, rng)
        elif rng.random() < 0.5:
            changed[f"{name}_"] = kept
        return changed
    if isinstance(value, list) and value and rng.random() < 0.9:
        listed = list(value)
        place = rng.randrange(len(listed))
        listed[place] = damaged_values(listed[place], rng)
        return listed
    if isinstance(value, torch.Tensor):
        return _damaged_tensor(value, rng)
    return rng.choice(_ODD)


def _damaged_tensor(value: torch.Tensor, rng: random.Random) -> Any:
    match rng.randrange(8):
        case 0:
            return value.double() if value.is_floating_point() else value.float()
        case 1:
            return value[:-1] if value.ndim else value[None]
        case 2:
            return value.flatten()
        case 3:
            return value[None]
        case 4 if value.is_floating_point():
            return value * float("nan")
        case 5:
            return torch.zeros(0)
        case 6:
            return value + 1000 if value.dtype is not torch.bool else ~value
        case _:
            return rng.choice(_ODD)


def _damage_checkpoint(path: Path, rng: random.Random) -> None:
    torch.save(damaged_values(torch.load(path, weights_only=True), rng), path)


def _damage_poses(path: Path, rng: random.Random) -> None:
    table = np.load(path)
    name = rng.choice(table.dtype.names)
    rows = slice(None) if rng.random() < 0.5 else rng.randrange(len(table))
    shape = table[name][rows].shape
    raw = np.frombuffer(rng.randbytes(int(np.prod(shape, dtype=int)) * 2), np.int16)
    with np.errstate(all="ignore"):
        value = np.asarray(rng.choice([0, -1, 100, raw.reshape(shape)]))
        table[name][rows] = value.astype(table[name].dtype)
    np.save(path, table)


def _damage_json(path: Path, rng: random.Random) -> None:
    path.write_text(json.dumps(damaged_values(json.loads(path.read_text()), rng)))


def _damage_toml(path: Path, rng: random.Random) -> None:
    values = damaged_values(tomllib.loads(path.read_text()), rng)
    try:
        path.write_text(tomli_w.dumps(values))
    except (TypeError, AttributeError, ValueError):
        path.write_text(str(values))


def _damage_cells(path: Path, rng: random.Random) -> None:
    rows = [line.split(b",") for line in path.read_bytes().splitlines()]
    row = rng.choice(rows)
    row[rng.randrange(len(row))] = rng.choice(_WORDS)
    path.write_bytes(b"\n".join(b",".join(row) for row in rows))
