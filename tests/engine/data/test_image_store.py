"""Images in memory: little memory is taken beside them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data import image_store
from napari_cryospin.engine.data.image_store import MemoryHome
from napari_cryospin.engine.data.plan import Prepared
from napari_cryospin.engine.data.set_aside import SetAside


def test_what_is_kept_moves_to_the_front_times_its_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "_PART_BYTES", 3 * 4 * 8**2)
    images = torch.randn(20, 8, 8, generator=torch.Generator().manual_seed(0))
    home, kept = MemoryHome(20, 8), np.array([0, 2, 3, 7, 8, 9, 10, 18])
    home.put(np.arange(20), images)
    factors = torch.arange(1.0, 9.0)
    store = home.finish(Prepared(kept, factors, SetAside.none(), ()))
    assert torch.equal(store.images, images[kept] * factors[:, None, None])
    torch.testing.assert_close(store.signatures(), image_store.signatures(store.images))


FINISHED = """
import resource
import numpy as np
import torch
from napari_cryospin.engine.data.image_store import MemoryHome
from napari_cryospin.engine.data.plan import Prepared
from napari_cryospin.engine.data.set_aside import SetAside

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

home = MemoryHome(256, 512)
home.put(np.arange(256), torch.ones(1, 1, 1).expand(256, 512, 512))
before = peak()
home.finish(Prepared(np.arange(256), torch.ones(256), SetAside.none(), ()))
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are told in other units")
def test_large_images_are_finished_in_little_memory() -> None:
    told = subprocess.run(
        [sys.executable, "-c", FINISHED], capture_output=True, text=True, check=True, env=os.environ
    )
    # the images take 256 MiB
    assert float(told.stdout) < 128
