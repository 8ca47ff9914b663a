from __future__ import annotations

import subprocess
import sys

import pytest

CHECK = """
import sys
from pathlib import Path
from napari_cryospin.gui.work.engine_import import load_torch_libraries
load_torch_libraries()
assert "torch" not in sys.modules
assert "libtorch_cpu.so" in Path("/proc/self/maps").read_text()
import torch
assert float((torch.eye(3) @ torch.ones(3)).sum()) == 3
load_torch_libraries.cache_clear()
load_torch_libraries()
"""


IMPORT = """
import gc, sys
from napari_cryospin.gui.work.engine_import import import_engine
full = []
before = "torch" in sys.modules
def note(phase, info):
    if phase == "start" and "torch" in sys.modules:
        full.append(info["generation"])
gc.callbacks.append(note)
import_engine()
assert not before
assert "torch" in sys.modules
assert full == [], full
assert gc.isenabled()
assert gc.get_freeze_count() == 0, "what is garbage later is found"
# garbage is found
class Ring: pass
ring = Ring()
ring.itself = ring
import weakref
gone = weakref.ref(ring)
del ring
gc.collect()
assert gone() is None
"""


def test_nothing_is_looked_through_for_garbage_while_the_engine_is_imported() -> None:
    """Each time, no thread of the program goes on for a part of a second."""
    subprocess.run([sys.executable, "-c", IMPORT], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_libraries_are_there_before_torch_is_imported() -> None:
    subprocess.run([sys.executable, "-c", CHECK], check=True)
