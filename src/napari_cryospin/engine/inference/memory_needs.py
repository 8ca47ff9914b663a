"""What inferences need of memory, as measured by ``benchmarks/memory_peaks.py``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.sums.search import numbers_needed

if TYPE_CHECKING:
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import DirectStage

FLOAT = 4
"""Bytes of a number."""
PER_COEFFICIENT = 45
"""Numbers kept for each coefficient of each image of a batch that is compared with a gradient."""
BLOCKS = 8 * 16_000_000 * FLOAT
"""Bytes of a block of log-probabilities, 16 million of them, and of what is computed of it."""
GRIDS = 12
"""Grids of a map: coefficients, radii, sums or an optimiser that make it anew, what is told."""

# the same for each coefficient of an image where there is no gradient
_OF_IMAGE = 16
# grids that read a map and the weights of its sums, and hold these in the end; grids of the sums of
# a thread, and how many bytes they may have before threads share them
_READING, _OF_THREAD, _MOST = 6, 4, 256 * 2**20


def coefficients(box: int) -> float:
    """Return the number of coefficients of an image of a box (pixels)."""
    return math.pi / 4 * box**2


def grid_bytes(box: int) -> float:
    """Return the bytes of a Hartley grid, (D+1)³."""
    return float((box + 1) ** 3 * FLOAT)


def sums_bytes(model: ModelSettings, box: int, device: torch.device) -> float:
    """Return the bytes of what reads the maps of all classes, and of the sums made for them."""
    grid = grid_bytes(box)
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    adding = _OF_THREAD * max(min(threads, _MOST // (_OF_THREAD * grid)), 1)
    return model.classes * (_READING + adding) * grid


def decoding_bytes(
    stage: DirectStage, model: ModelSettings, box: int, device: torch.device
) -> float:
    """Return the bytes of a batch of auto-decoding, or of a search of all poses."""
    # however many hypotheses an image has, all are compared with the same coefficients
    gradient = "adam" in (stage.pose_update, stage.volume_update)
    kept = PER_COEFFICIENT if gradient else _OF_IMAGE
    batch = stage.batch_size * coefficients(box) * kept * FLOAT
    search = BLOCKS + model.classes * numbers_needed(box) * FLOAT if stage.searches else 0.0
    return max(batch + sums_bytes(model, box, device), search)
