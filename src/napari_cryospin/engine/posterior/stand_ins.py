"""The candidates of one particle beside its exact posterior: what they would say without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.cells import rotations_of_cells
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.refining.candidate_modes import (
    APART,
    MOST_MODES,
    covered,
    random_coverage,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.posterior.likelihood import PoseLikelihood
    from napari_cryospin.engine.posterior.refinement import Cells

# candidates that are no heads' are modes already: the same one is none twice
_SAME = 0.1
# fewer frequencies tell too little to refine by
_LEAST_RADIUS = 4.0


@dataclass(frozen=True)
class StandIns:
    """Candidates of one particle, K of them, with their modes, the best first, m of them.

    Parameters
    ----------
    places
        Best candidate of each mode, (m,).
    modes
        Mode of each candidate, (K,); −1 for one that is near none of them.
    weights
        Probability of each mode, (m,); they add up to 1. 0 where refining it leads to another one.
    coverage
        Share of the exact posterior within 15° of a candidate.
    random_coverage
        The same of as many random poses.
    """

    places: NDArray[np.int64]
    modes: NDArray[np.int64]
    weights: NDArray[np.float64]
    coverage: float
    random_coverage: float

    def weight_of(self) -> NDArray[np.float64]:
        """Return the weight of each candidate's mode, (K,); 0 for one of none."""
        weights: NDArray[np.float64] = np.append(self.weights, 0.0)[self.modes]
        return weights


def stand_ins(
    likelihood: PoseLikelihood,
    index: int,
    candidates: NDArray[np.floating],
    exact: Cells,
    *,
    radius: float,
    temperature: float,
    shifted: bool,
    grouped: bool,
) -> StandIns:
    """Return what the candidates of a particle say, given its posterior.

    Parameters
    ----------
    likelihood
        Particles, map and noise.
    index
        Row of the working stack.
    candidates
        Its candidates, (K, 3, 3).
    exact
        Its posterior, on cells finer than the candidates scatter.
    radius
        Largest frequency radius in use, in units of 1/box.
    temperature
        Divides log-probabilities of the posterior.
    shifted
        Whether shifts are estimated.
    grouped
        Whether candidates that lie near each other are of one mode.
    """
    device = likelihood.particles.device
    rotations = torch.from_numpy(np.array(candidates, dtype=np.float32)).to(device)
    shift, _ = np.unravel_index(exact.log_p.argmax(), exact.log_p.shape)
    origin = torch.from_numpy(exact.shifts[shift].astype(np.float32)).to(device)
    found = likelihood.candidate_modes(
        torch.tensor([index], device=device),
        likelihood.model(max(radius, _LEAST_RADIUS)),
        Poses(rotations[None], origin.expand(1, len(rotations), 2)),
        shifted=shifted,
        most=min(MOST_MODES, len(rotations)) if grouped else len(rotations),
        apart=APART if grouped else _SAME,
    )
    places = found.places[0].cpu().numpy()
    there = places >= 0
    cells = torch.from_numpy(rotations_of_cells(exact.cells, exact.nside)).float()
    weights = torch.from_numpy(exact.probability(temperature).sum(0)).float()
    return StandIns(
        places[there],
        found.modes[0].cpu().numpy(),
        found.weights[0].cpu().double().numpy()[there],
        float(covered(rotations[None].cpu(), cells[None], weights[None])[0]),
        random_coverage(len(rotations)),
    )
