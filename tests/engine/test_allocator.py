"""Freed memory is kept while a run needs it, and goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import numpy as np
import pytest

from napari_cryospin.engine.allocator import give_back


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory from /proc")
def test_what_is_free_goes_back_to_the_system() -> None:
    # pieces that are too small to be given back one by one, with some in use at the end
    pieces = [np.ones(2000) for _ in range(20_000)]
    kept, full = pieces[-1], resident()
    pieces.clear()
    give_back()
    assert full - resident() > 200_000_000
    assert kept[0] == 1


ARENAS = """
import ctypes, re, sys, tempfile, threading
from pathlib import Path
from napari_cryospin.engine.allocator import share_arenas
if sys.argv[1] == "share":
    share_arenas()
libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
barrier = threading.Barrier(8)
def take():
    barrier.wait()
    libc.malloc(5000)
threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes, libc.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "info.xml"
    file = libc.fopen(str(path).encode(), b"w")
    libc.malloc_info(0, file)
    libc.fclose(file)
    print(len(re.findall("<heap ", path.read_text())))
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_info"),
    reason="asks the C library of GNU",
)
def test_threads_share_few_arenas() -> None:
    found = {}
    for how in ("share", "leave"):
        done = subprocess.run(
            [sys.executable, "-c", ARENAS, how], capture_output=True, text=True, check=True
        )
        found[how] = int(done.stdout)
    assert found["share"] <= 4 < found["leave"]


BATCHES = """
import sys
import numpy as np
from napari_cryospin.engine.allocator import keep_freed
def resident():
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024
if sys.argv[1] == "keep":
    keep_freed()
found = [resident()]
for _ in range(20):
    np.full(100 * 2**20 // 8, 1.5)
    found.append(resident())
print(found[1] - found[0], found[-1] - found[1])
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_info"),
    reason="asks the C library of GNU",
)
@pytest.mark.parametrize(("how", "least", "most"), [("keep", 90, 110), ("leave", -10, 10)])
def test_what_a_batch_has_freed_serves_the_next_one(how: str, least: int, most: int) -> None:
    # MiB that stay with the process when a batch of 100 has been freed: not page faults, whose
    # number depends on which pages the system has at hand
    done = subprocess.run(
        [sys.executable, "-c", BATCHES, how], capture_output=True, text=True, check=True
    )
    first, further = (int(value) for value in done.stdout.split())
    assert least < first < most
    assert abs(further) < 10


def resident() -> int:
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith("VmRSS"))
    return 1024 * int(line.split()[1])
