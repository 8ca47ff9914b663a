"""Tables that are written anew with every row: what is ended early leaves what it reached."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import description

# seconds before its limit at which a part stops by itself
_MARGIN = 5.0


class Table:
    """A Markdown table in the output folder.

    Parameters
    ----------
    path
        The file.
    title
        Its heading.
    columns
        Names of the columns.
    device
        Where the work is done.
    """

    def __init__(self, path: Path, title: str, columns: tuple[str, ...], device: str) -> None:
        self.path, self.title, self.columns = path, title, columns
        self.rows: list[tuple[str, ...]] = []
        self.notes: list[str] = []
        self._machine = f"{description()}; {name_of(device)}"
        self.write()

    def add(self, *row: object) -> None:
        """Add a row; floats are rounded."""
        shown = tuple(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row)
        print(" · ".join(shown), flush=True)
        self.rows.append(shown)
        self.write()

    def note(self, sentence: str) -> None:
        """Add a sentence below the table."""
        print(sentence, flush=True)
        self.notes.append(sentence)
        self.write()

    def write(self) -> None:
        """Write the file."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        notes = "\n\n".join(self.notes)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(
            f"# {self.title}\n\nMachine: {self._machine}.\n\n{text}\n\n{notes}\n", encoding="utf-8"
        )


class Deadline:
    """Says whether time is left, out of so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + max(seconds - _MARGIN, 0.0)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    @property
    def passed(self) -> bool:
        """Whether none is left."""
        return self.left <= 0


def arguments(description: str, particles: int, box: int) -> argparse.Namespace:
    """Return the options that every part has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--seconds", type=float, default=120.0, help="stop after so many")
    parser.add_argument("--particles", type=int, default=particles)
    parser.add_argument("--box", type=int, default=box)
    return parser.parse_args()


def name_of(device: str) -> str:
    """Return a readable name of a device."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "no GPU"


def synchronised(device: str) -> float:
    """Return the clock, seconds, once the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.monotonic()


def peak_memory(device: str) -> str:
    """Return the most memory of a GPU that was in use so far, GiB, and forget it."""
    if not device.startswith("cuda"):
        return "not measured"
    peak = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return f"{peak:.2f}"
