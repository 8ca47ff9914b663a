"""Ten thousand particles of 256 px, worked on from disk in bounded memory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow_campaign

MOST_GIB, MOST_RATIO = 4.0, 1.2


def test_a_large_stack_takes_little_memory_and_no_more_time_from_disk(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "large_stacks.py"
    command = [sys.executable, str(script), str(tmp_path), "--particles", "10000", "--no-table"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    print(done.stdout)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    from_disk = [row for row in rows if re.fullmatch(r"[\d.]+", row[-1])]
    alone = [row for row in from_disk if len(row) == 4]
    both = [row for row in from_disk if len(row) == 8]
    assert len(alone) == 6 and len(both) == 5
    assert max(float(row[-1]) for row in alone) < MOST_GIB
    # of CPU time: the other is told by the load as well
    epochs = [float(row[5]) for row in both if not row[0].startswith("reading")]
    assert sorted(epochs)[len(epochs) // 2] < MOST_RATIO
    # nothing is left on the disk but the few views that all are made of
    assert {path.name for path in tmp_path.iterdir()} == {"views"}
