"""How posteriors are computed; light to import, so that forms can hold it."""

from __future__ import annotations

import math
from dataclasses import dataclass

# where a run estimates shifts, posteriors are marginalised over shifts this near, pixels
SHIFT_EXTENT = 2.0


@dataclass(frozen=True)
class PosteriorOptions:
    """How posteriors are computed.

    Parameters
    ----------
    nside
        HEALPix nside of the grid that covers all poses, with ``6 nside`` in-plane angles.
    depth
        Finest nside around the modes.
    radius
        Low-pass: largest frequency radius in use, in units of 1/box; by default Nyquist. A level
        uses what it resolves, ``2 nside``, at most.
    temperature
        Divides log-probabilities: above 1 less probable poses become visible.
    shift_extent
        Shifts within this distance of the present one are marginalised over, pixels of the working
        box; 0 takes the present shift as known.
    enough
        The refinement ends early where so many fine cells share the probability.
    """

    nside: int = 8
    depth: int = 64
    radius: float | None = None
    temperature: float = 1.0
    shift_extent: float = 0.0
    enough: float = math.inf
