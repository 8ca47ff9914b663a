"""Many mutated files of one kind, in a process of its own whose memory is limited.

``python -m fuzzing.batch KIND SEED FIRST LAST`` prints each number before its file is read and the
outcome after it, so that whoever started it knows which file ended or stopped the process.
"""

from __future__ import annotations

import json
import queue
import resource
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fuzzing.trial import Outcome, judge, make, seeds_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_SECONDS = 60.0
# beyond what the process has mapped with torch loaded
_MORE_MEMORY = 2 * 2**30


def main() -> None:
    """Read the files of the command line's numbers."""
    from fuzzing.kinds import KINDS

    name, seed, first, last = sys.argv[1], *map(int, sys.argv[2:5])
    with tempfile.TemporaryDirectory() as folder:
        seeds = seeds_of(KINDS[name], Path(folder))
        _limit_memory()
        for index in range(first, last):
            path = make(name, KINDS[name], seeds, seed, index)
            print(json.dumps({"index": index}), flush=True)
            print(json.dumps(asdict(judge(KINDS[name], path, index))), flush=True)


def _limit_memory() -> None:
    status = Path("/proc/self/statm")
    if status.exists():
        mapped = int(status.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + _MORE_MEMORY, resource.RLIM_INFINITY))


def outcomes(name: str, seed: int, number: int) -> Iterator[Outcome]:
    """Yield the outcome of every file; a process that ends or hangs is begun anew behind it."""
    index = 0
    while index < number:
        for outcome in _one_process(name, seed, index, number):
            index = outcome.index + 1
            yield outcome


def _one_process(name: str, seed: int, first: int, last: int) -> Iterator[Outcome]:
    command = [sys.executable, "-m", "fuzzing.batch", name, str(seed), str(first), str(last)]
    folder = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_pump, args=(process, lines), daemon=True).start()
    index = first
    try:
        while True:
            line = lines.get(timeout=10 * _MOST_SECONDS if index == first else _MOST_SECONDS)
            if not line:
                break
            report = json.loads(line)
            index = report["index"] + ("ending" in report)
            if "ending" in report:
                yield Outcome(**report)
    except queue.Empty:
        yield Outcome(index, f"no answer within {_MOST_SECONDS:.0f} s")
        index = last
    finally:
        process.kill()
        process.wait()
    if index < last:
        yield Outcome(index, f"the process ended with code {process.returncode}")


def _pump(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


if __name__ == "__main__":
    main()
