"""What inferences need of memory, as measured by ``benchmarks/memory_peaks.py``."""

from __future__ import annotations

import math

FLOAT = 4
"""Bytes of a number."""
PER_COEFFICIENT = 45
"""Numbers kept for each coefficient of each pose that is refined with a gradient."""
BLOCKS = 6 * 16_000_000 * FLOAT
"""Bytes of a block of log-probabilities, 16 million of them, and of what is computed of it."""


def coefficients(box: int) -> float:
    """Return the number of coefficients of an image of a box (pixels)."""
    return math.pi / 4 * box**2
