"""Refining a posterior around its modes: cells that matter are split, level by level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.cells import ancestors, children, n_cells, rotations_of_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.posterior.likelihood import PoseLikelihood
    from napari_cryospin.engine.sums.products import PoseSlices

# a level keeps the cells that hold all but this share of the probability ...
_NEGLIGIBLE = 1e-3
# ... but at least so many: where the image decides more finely than the cells are, the centre of
# the right cell may be less probable than those of others
FEWEST_CELLS = 128
# with more than so many a posterior is so broad that finer cells would show nothing new
MOST_CELLS = 384
_MOST_SHIFTS = 6
_FINEST_SHIFT = 0.25


@dataclass(frozen=True)
class Cells:
    """A posterior over some cells of a level, and over shifts.

    Parameters
    ----------
    nside
        Level of the cells (see :mod:`~napari_cryospin.engine.geometry.cells`).
    cells
        Their numbers, shape (J,).
    shifts, shift_step
        Origin shifts (x, y), (S, 2), and their spacing; pixels of the working box.
    log_p
        Log-probabilities up to a constant, float64, shape (S, J).
    """

    nside: int
    cells: NDArray[np.int64]
    shifts: NDArray[np.float64]
    shift_step: float
    log_p: NDArray[np.float64]

    @classmethod
    def of_grid(cls, nside: int, log_p: Tensor, shift: Tensor) -> Cells:
        """Return the posterior over all cells of a level, (J,), at one origin shift (2,)."""
        values = log_p.double().cpu().numpy()[None]
        shifts = shift.double().cpu().numpy()[None]
        return cls(nside, np.arange(values.shape[1]), shifts, 0.0, values)

    def probability(self, temperature: float = 1) -> NDArray[np.float64]:
        """Return normalised probabilities, (S, J), with ``log p`` divided by a temperature."""
        scaled = (self.log_p - self.log_p.max()) / temperature
        weights = np.exp(scaled)
        return np.asarray(weights / weights.sum())

    def effective_number(self, temperature: float = 1) -> float:
        """Return the exponential of the entropy over the cells, shifts summed over."""
        p = self.probability(temperature).sum(0)
        return float(np.exp(-(p * np.log(np.maximum(p, 1e-300))).sum()))


def frequency_radius_of(nside: int, radius: float) -> float:
    """Return the frequency radius that a level resolves, at most ``radius``: 2 nside."""
    return min(2 * nside, radius)


@torch.no_grad()
def refine(
    likelihood: PoseLikelihood,
    row: int,
    start: Cells,
    *,
    depth: int,
    radius: float,
    temperature: float = 1,
    fewest: int = FEWEST_CELLS,
    most: int = MOST_CELLS,
    enough: float = math.inf,
) -> list[Cells]:
    """Return the posterior of one particle on finer and finer cells, ``start`` the first.

    Parameters
    ----------
    likelihood
        Likelihood of the stack's particles given the map.
    row
        Row of the working stack.
    start
        Its posterior on all cells of a level.
    depth
        Finest level, a power of two.
    radius
        Largest frequency radius in use, in units of 1/box; a level uses at most ``2 nside``.
    temperature
        Divides log-probabilities.
    fewest, most
        Cells of a level that are split: at least, and at most. Where more than ``most`` hold the
        probability the refinement ends.
    enough
        The refinement ends as well where the effective number of cells is above this.
    """
    levels = [start]
    while (present := levels[-1]).nside < depth and (
        present.effective_number(temperature) < enough
    ):
        kept = _kept(present.probability(temperature).sum(0), fewest)
        if len(kept) > max(most, fewest):
            break
        shifts, step = _finer_shifts(present, temperature)
        cells = children(present.cells[kept], present.nside).ravel()
        nside = 2 * present.nside
        log_p = _evaluate(likelihood, row, nside, cells, shifts, frequency_radius_of(nside, radius))
        levels.append(Cells(nside, cells, shifts, step, log_p))
    return levels


def on_first_level(levels: list[Cells], temperature: float = 1) -> NDArray[np.float64]:
    """Return the probability of each cell of the first level, (J,), as the finer levels tell it.

    The cells that a level split share what they held together by the probabilities of their
    children; the others keep what they had.
    """
    first = levels[0].nside
    result = np.zeros(n_cells(first))
    share = 1.0
    for place, level in enumerate(levels):
        probability = share * level.probability(temperature).sum(0)
        if place + 1 < len(levels):
            finer = levels[place + 1]
            split = np.isin(level.cells, ancestors(finer.cells, finer.nside, level.nside))
            share = float(probability[split].sum())
            probability[split] = 0
        np.add.at(result, ancestors(level.cells, level.nside, first), probability)
    return result


def _kept(probability: NDArray[np.float64], fewest: int) -> NDArray[np.int64]:
    """Return the cells that hold nearly all of the probability, the most probable first."""
    order = np.argsort(-probability)
    count = int((np.cumsum(probability[order]) < 1 - _NEGLIGIBLE).sum()) + 1
    return np.asarray(order[: max(count, fewest)])


def _finer_shifts(cells: Cells, temperature: float) -> tuple[NDArray[np.float64], float]:
    """Return four shifts for each that matters, at half the spacing; one alone is known."""
    if len(cells.shifts) == 1:
        return cells.shifts, cells.shift_step
    kept = _kept(cells.probability(temperature).sum(1), 1)[:_MOST_SHIFTS]
    if cells.shift_step <= _FINEST_SHIFT:
        return cells.shifts[kept], cells.shift_step
    corners = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)]) * (cells.shift_step / 4)
    return (cells.shifts[kept, None] + corners).reshape(-1, 2), cells.shift_step / 2


def _evaluate(
    likelihood: PoseLikelihood,
    row: int,
    nside: int,
    cells: NDArray[np.int64],
    shifts: NDArray[np.float64],
    radius: float,
) -> NDArray[np.float64]:
    model = likelihood.model(radius)
    slices = likelihood.slices(rotations_of_cells(cells, nside), model)
    rows = torch.tensor([row], device=likelihood.particles.device)
    result: NDArray[np.float64] = log_probability(likelihood, model, rows, slices, shifts)[0]
    return result


def log_probability(
    likelihood: PoseLikelihood,
    model: ImageModel,
    rows: Tensor,
    slices: PoseSlices,
    shifts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return log-probabilities (b, S, J) of particles at poses and origin shifts (S, 2)."""
    seen = likelihood.whitened(rows, model)
    origins = torch.from_numpy(shifts).to(seen.coefficients)
    centred = model.shift(seen.coefficients[:, None], origins)
    log_p = slices.log_probability(centred, seen.ctf)
    result: NDArray[np.float64] = log_p.double().cpu().numpy()
    return result
