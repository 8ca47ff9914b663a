"""The whole campaign of mutated files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow_campaign


def test_no_mutated_file_ends_badly() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
    command = [sys.executable, str(script), "--number", "3500", "--seed", "1", "--no-table"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
