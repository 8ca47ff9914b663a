"""Random numbers by name: what one option draws does not change what another draws."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What random numbers are for."""

    JUNK = 1
    CLASSES = 2
    VIEWS = 3
    CONTRAST = 4
    DEFOCUS = 5
    NEIGHBOURS = 6
    COPIES = 7
    FRAGMENTS = 8
    DRAWINGS = 9
    BEADS = 10
    ICE = 11
    RAMPS = 12
    BACKGROUND = 13
    MICROGRAPHS = 14


def stream(seed: int, purpose: Stream, *which: int) -> np.random.Generator:
    """Return the generator of a purpose, and of one image or source where ``which`` names it."""
    return np.random.default_rng([seed, int(purpose), *which])
