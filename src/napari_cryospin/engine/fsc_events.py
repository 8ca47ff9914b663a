"""What a run tells of its independent halves while they are refined."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_cryospin.engine.events import Event
from napari_cryospin.engine.runfolder.fsc import FREQUENCY

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.half_resolution import HalfResolution


@dataclass(frozen=True)
class FscUpdated(Event):
    """The correlations of two independent half-maps after an epoch.

    ``curves`` are the columns that ``fsc.csv`` has at the end, by name, each (D/2 + 1,): the
    frequency (1/Å), the FSC without a mask, with one, with random phases, corrected, and where the
    maps are made common.
    """

    epoch: int
    resolution: HalfResolution
    curves: dict[str, NDArray[np.float64]] = field(repr=False)

    @property
    def columns(self) -> dict[str, NDArray[np.float64]]:
        """The curves, without the frequency."""
        return {name: curve for name, curve in self.curves.items() if name != FREQUENCY}

    @property
    def reached(self) -> float | None:
        """The resolution, Å; None where the halves agree on nothing beyond what they share."""
        return self.resolution.angstrom if self.resolution.found else None
