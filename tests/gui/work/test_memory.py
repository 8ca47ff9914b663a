"""Freed memory goes back to the system."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from napari_cryospin.gui.work.memory import give_back


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory from /proc")
def test_what_is_free_goes_back_to_the_system() -> None:
    # pieces that are too small to be given back one by one, with some in use at the end
    pieces = [np.ones(2000) for _ in range(20_000)]
    kept, full = pieces[-1], resident()
    pieces.clear()
    give_back()
    assert full - resident() > 200_000_000
    assert kept[0] == 1


def resident() -> int:
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith("VmRSS"))
    return 1024 * int(line.split()[1])
