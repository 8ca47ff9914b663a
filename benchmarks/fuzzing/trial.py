"""One mutated file: made, read and judged."""

from __future__ import annotations

import time
import traceback
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from fuzzing.kinds import Kind

MOST_SECONDS = 2.0
MOST_GROWTH = 500 * 2**20


@dataclass(frozen=True)
class Outcome:
    """What became of a mutated file.

    Parameters
    ----------
    index
        Its number in the campaign.
    ending
        "read", "refused", or what was wrong with the ending, on one line.
    seconds
        Processor time that reading took.
    growth
        Bytes that the resident memory grew by, at most.
    """

    index: int
    ending: str
    seconds: float = 0.0
    growth: int = 0

    @property
    def well(self) -> bool:
        """Whether the file ended as it should."""
        return self.ending in ("read", "refused")


def seeds_of(kind: Kind, folder: Path) -> list[Path]:
    """Make the seeds of a kind in a folder, and return those that can be read."""
    return [path for path in kind.seeds(folder) if judge(kind, path, 0).ending == "read"]


def make(name: str, kind: Kind, seeds: list[Path], seed: int, index: int) -> Path:
    """Write the mutated file of a number; the same numbers make the same file."""
    rng = np.random.default_rng((seed, zlib.crc32(name.encode()), index))
    source = seeds[int(rng.integers(len(seeds)))]
    return kind.mutate(source, seeds[0].parent, rng)


def judge(kind: Kind, path: Path, index: int) -> Outcome:
    """Read a mutated file and return its outcome."""
    before, started = _reset_peak(), time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            kind.read(path)
        ending = "read"
    except InputError as error:
        lines = str(error).splitlines()
        ending = "refused" if len(lines) == 1 and lines[0] else f"{len(lines)} lines: {lines[:1]}"
    except Exception as error:
        ending = f"{type(error).__name__} at {_place(error)}: {' '.join(str(error).split())[:80]}"
    seconds, growth = time.process_time() - started, max(0, _peak() - before)
    if ending in ("read", "refused") and seconds > MOST_SECONDS:
        ending = f"{seconds:.1f} s"
    if ending in ("read", "refused") and growth > MOST_GROWTH:
        ending = f"{growth / 2**20:.0f} MiB"
    return Outcome(index, ending, seconds, growth)


def _place(error: Exception) -> str:
    """Return the innermost line of the project in a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "napari_cryospin" in frame.filename] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}"


def _reset_peak() -> int:
    """Set the peak of the resident memory to its present size, and return that, bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    return _peak()


def _peak() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    line = next((x for x in status.splitlines() if x.startswith("VmHWM")), "VmHWM: 0 kB")
    return 1024 * int(line.split()[1])
