"""How posteriors are computed; light to import, so that forms can hold it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_cryospin.engine.errors import InputError

# where a run estimates shifts, posteriors are marginalised over shifts this near, pixels
SHIFT_EXTENT = 2.0


@dataclass(frozen=True)
class PosteriorOptions:
    """How posteriors are computed.

    Parameters
    ----------
    nside
        HEALPix nside of the grid that covers all poses, a power of two, with ``6 nside`` in-plane
        angles.
    depth
        Finest nside around the modes, a power of two.
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

    Raises
    ------
    InputError
        If a value is out of range.
    """

    nside: int = 8
    depth: int = 64
    radius: float | None = None
    temperature: float = 1.0
    shift_extent: float = 0.0
    enough: float = math.inf

    def __post_init__(self) -> None:
        for name in ("nside", "depth"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise InputError(f"The {name} of a posterior must be a power of two, not {value}.")
        if self.radius is not None and not self.radius >= 1:
            raise InputError(
                f"A low-pass radius of {self.radius:g} leaves nothing: give at least 1."
            )
        if not self.temperature > 0:
            raise InputError(f"A temperature must be above 0, and {self.temperature:g} is not.")
        if not self.shift_extent >= 0:
            raise InputError(f"Shifts cannot reach {self.shift_extent:g} pixels: give 0 or more.")
