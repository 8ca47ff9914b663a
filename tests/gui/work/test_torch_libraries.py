from __future__ import annotations

import subprocess
import sys

import pytest

CHECK = """
import sys
from pathlib import Path
from napari_cryospin.gui.work.torch_libraries import load_torch_libraries
load_torch_libraries()
assert "torch" not in sys.modules
assert "libtorch_cpu.so" in Path("/proc/self/maps").read_text()
import torch
assert float((torch.eye(3) @ torch.ones(3)).sum()) == 3
load_torch_libraries.cache_clear()
load_torch_libraries()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_libraries_are_there_before_torch_is_imported() -> None:
    subprocess.run([sys.executable, "-c", CHECK], check=True)
