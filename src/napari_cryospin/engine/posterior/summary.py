"""Posteriors of many particles, in figures: entropy and modes of each, and calibration of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from napari_cryospin.engine.posterior.modes import ModeCells, find_modes
from napari_cryospin.engine.refining.candidate_modes import CandidateModes
from napari_cryospin.engine.sums.finer import FinePosteriors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors


@dataclass(frozen=True)
class PosteriorSummary:
    """Figures of the posteriors of b particles on a grid.

    Parameters
    ----------
    rows
        Rows of the working stack, shape (b,).
    entropy
        Entropy over the grid, nats, shape (b,); its exponential is the effective number of poses.
    modes
        The modes on the grid, the heaviest first.
    """

    rows: NDArray[np.int64]
    entropy: NDArray[np.float64]
    modes: ModeCells

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the figures of several lots of particles on one grid, by ascending row."""
        rows = np.concatenate([part.rows for part in parts])
        order = np.argsort(rows)
        cells = np.concatenate([part.modes.cells for part in parts])[order]
        weights = np.concatenate([part.modes.weights for part in parts])[order]
        entropy = np.concatenate([part.entropy for part in parts])[order]
        return cls(rows[order], entropy, ModeCells(parts[0].modes.nside, cells, weights))

    @property
    def multimodal_share(self) -> float:
        """Share of the particles with more than one mode."""
        return float((self.modes.counts > 1).mean())


@torch.no_grad()
def summarise(
    posteriors: ParticlePosteriors,
    rows: NDArray[np.int64],
    shifts: NDArray[np.floating],
    progress: Callable[[int, int], None] | None = None,
) -> PosteriorSummary:
    """Return figures of the posteriors of particles on their grid.

    Parameters
    ----------
    posteriors
        They have a map.
    rows
        Rows of the working stack, shape (b,).
    shifts
        Present origin shifts (x, y) of all particles, pixels of the working box, shape (n, 2).
    progress
        Called with the particles done and their number; it may raise to end the work.
    """
    grid, temperature = posteriors.grid, posteriors.options.temperature
    device = posteriors.particles.device
    entropies, cells, weights = [], [], []
    for part in np.split(rows, range(grid.rows_per_block, len(rows), grid.rows_per_block)):
        origins = torch.from_numpy(np.asarray(shifts[part], dtype=np.float32)).to(device)
        log_p = grid.log_probability(torch.from_numpy(part).to(device), origins) / temperature
        log_p -= torch.logsumexp(log_p, 1, keepdim=True)
        entropies.append(-(log_p.exp() * log_p).sum(1).cpu().double().numpy())
        modes = find_modes(log_p, grid.nside)
        cells.append(modes.cells)
        weights.append(modes.weights)
        if progress is not None:
            progress(sum(map(len, entropies)), len(rows))
    found = ModeCells(grid.nside, np.concatenate(cells), np.concatenate(weights))
    return PosteriorSummary(rows, np.concatenate(entropies), found)


@torch.no_grad()
def candidates_beside(
    posteriors: ParticlePosteriors,
    rows: NDArray[np.int64],
    shifts: NDArray[np.floating],
    candidates: Poses,
) -> tuple[CandidateModes, FinePosteriors]:
    """Return the modes of particles' candidates, and their posteriors on cells that resolve these.

    Both use the frequencies of the grid.

    Parameters
    ----------
    posteriors, rows, shifts
        As for :func:`summarise`.
    candidates
        Candidates of the particles, with their origin shifts, pixels, (b, K).
    """
    grid, likelihood = posteriors.grid, posteriors.grid.likelihood
    device = posteriors.particles.device
    shifted = posteriors.options.shift_extent > 0
    modes: list[CandidateModes] = []
    fine: list[FinePosteriors] = []
    places = np.arange(len(rows))
    for part in np.split(places, range(grid.rows_per_block, len(rows), grid.rows_per_block)):
        here = torch.from_numpy(rows[part]).to(device)
        origins = torch.from_numpy(np.asarray(shifts[rows[part]], dtype=np.float32)).to(device)
        log_p = grid.log_probability(here, origins)
        fine.append(likelihood.finer(here, origins, grid.model, log_p, grid.nside))
        own = candidates[torch.from_numpy(part).to(device)]
        modes.append(likelihood.candidate_modes(here, grid.model, own, shifted=shifted))
    return CandidateModes.join(modes), FinePosteriors.join(fine)


def credible_levels(
    posteriors: ParticlePosteriors,
    rows: NDArray[np.int64],
    shifts: NDArray[np.floating],
    truth: NDArray[np.floating],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Return for each particle how large a credible set must be to hold its true pose, (b,).

    ``truth`` holds the true poses of all particles in the frame of the map, (n, 3, 3); the other
    parameters are those of :func:`summarise`. Their options should let the refinement go
    on until the posterior is resolved (``depth`` large, ``enough`` finite).
    """
    rng = np.random.default_rng(seed)
    levels = np.empty(len(rows))
    for place, row in enumerate(rows):
        posterior = posteriors.particle(int(row), shifts[row])
        levels[place] = posterior.credible_level(truth[row], rng)
        if progress is not None:
            progress(place + 1, len(rows))
    return levels
