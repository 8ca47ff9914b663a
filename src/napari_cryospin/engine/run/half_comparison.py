"""Comparing the half-maps of a run: with what curves, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from napari_cryospin.engine.data.half_sets import half_sets
from napari_cryospin.engine.evaluation.fsc import fsc, resolution
from napari_cryospin.engine.evaluation.half_fsc import THRESHOLD, HalfFsc
from napari_cryospin.engine.fsc_events import FscUpdated
from napari_cryospin.engine.half_resolution import HalfResolution
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.runfolder.fsc import (
    CORRECTED,
    FREQUENCY,
    HALVES,
    MASKED,
    RANDOMISED,
    SHARED,
    UNMASKED,
    frequencies,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.run.training import Training


@dataclass(frozen=True)
class HalfComparison:
    """What the half-maps of a run have in common.

    Parameters
    ----------
    resolution
        Where they agree no more.
    columns
        Curves for ``fsc.csv``, by name, each (D/2 + 1,).
    unmasked
        The FSC of the maps as they are, (D/2 + 1,).
    mask
        The mask of the others, (D, D, D); None where there are no others.
    """

    resolution: HalfResolution
    columns: dict[str, NDArray[np.float64]]
    unmasked: NDArray[np.float64]
    mask: NDArray[np.float32] | None

    @classmethod
    def of(
        cls,
        one: NDArray[np.float32],
        two: NDArray[np.float32],
        pixel_size: float,
        limit: float | None,
    ) -> Self:
        """Compare half-maps.

        Parameters
        ----------
        one, two
            The maps, (D, D, D).
        pixel_size
            Å per voxel.
        limit
            Frequency radius that independent halves share, in units of 1/box; None where the halves
            share poses.
        """
        if limit is None:
            curve = fsc(one, two)
            found = HalfResolution(resolution(curve, pixel_size, THRESHOLD), _never_falls(curve))
            return cls(found, {HALVES: curve}, curve, None)
        curves = HalfFsc.of(one, two)
        shared = len(one) * pixel_size / limit
        columns = {
            UNMASKED: curves.unmasked,
            MASKED: curves.masked,
            RANDOMISED: curves.randomised,
            CORRECTED: curves.corrected,
            SHARED: (np.arange(len(curves.masked)) <= limit).astype(np.float64),
        }
        found = HalfResolution(
            resolution(curves.corrected, pixel_size, THRESHOLD),
            _never_falls(curves.corrected),
            shared,
        )
        return cls(found, columns, curves.unmasked, curves.mask)


def _never_falls(curve: NDArray[np.float64]) -> bool:
    return bool((curve[1:] >= THRESHOLD).all())


@torch.no_grad()
def compare(training: Training, halves: HalfMaps) -> HalfComparison:
    """Compare the half-maps that a run ends with."""
    one, two = (map_of_grid(grid).cpu().numpy() for grid in halves.grids)
    return HalfComparison.of(one, two, training.particles.pixel_size, independent_limit(training))


def independent_limit(training: Training) -> float | None:
    """Return the frequency radius that the halves of a run share, in units of 1/box.

    None where they share poses, or all particles are of one half.
    """
    particles = training.particles
    sets = half_sets(particles.table.half_set, particles.rows)[training.placed.cpu().numpy()]
    return training.inference.shared_radius if len(set(sets)) > 1 else None


@torch.no_grad()
def live_comparison(training: Training) -> FscUpdated | None:
    """Compare the present maps of independent halves, those of the largest class; None: no such."""
    limit, maps = independent_limit(training), training.inference.half_maps
    if limit is None or maps is None:
        return None
    pixel_size = training.particles.pixel_size
    main = training.main_class
    one, two = (map_of_grid(each[main].grid()).cpu().numpy() for each in maps)
    found = HalfComparison.of(one, two, pixel_size, limit)
    frequency = frequencies(len(found.unmasked), pixel_size)
    return FscUpdated(
        training.clock.epoch, found.resolution, {FREQUENCY: frequency, **found.columns}
    )
