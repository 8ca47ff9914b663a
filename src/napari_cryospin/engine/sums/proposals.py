"""Proposing the points of a sum: the previous posterior, spread out, and a uniform share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.cells import children, neighbours, spacing
from napari_cryospin.engine.sums.quadrature import cell_rotations, split_cells

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.sums.previous import Memory


@dataclass(frozen=True)
class SamplingOptions:
    """How points are proposed.

    Parameters
    ----------
    factor
        Samples per effective sample of the previous posterior (s₀).
    uniform
        Share of the samples that are drawn from all points (α).
    temperature
        The previous posterior is raised to the power 1/temperature.
    """

    factor: float = 10.0
    uniform: float = 0.05
    temperature: float = 8.0


@dataclass(frozen=True)
class Proposal:
    """Points that were drawn for b particles, with the probabilities that they were drawn with.

    Parameters
    ----------
    points
        Indices of cells, (b, m).
    log_q
        Log of their probability in the mixture that they were drawn from, (b, m).
    """

    points: Tensor
    log_q: Tensor


def propose_poses(
    memory: Memory,
    rows: Tensor,
    nside: int,
    n: int,
    options: SamplingOptions,
    generator: torch.Generator,
    n_maps: int = 1,
) -> Proposal:
    """Draw ``n`` cells of the level ``nside`` for each particle of ``rows`` (b,).

    All of them have their previous posterior at one level, ``nside`` or a coarser one. Those of
    several maps are numbered on from map to map.
    """
    before = int(memory.nside[rows[0]])
    near, kernel = _pose_kernel(before, rows.device)
    maps, cells = split_cells(memory.cells[rows].long(), before)
    weights = tempered(memory.weights[rows], options.temperature)
    spread_cells = (near[cells] + maps[..., None] * len(near)).flatten(1)
    spread_weights = (weights[..., None] * kernel[cells]).flatten(1)
    if 2 * before < nside:
        # over several levels the children of cells that are given twice would be too many
        everything = n_maps * len(near)
        known = torch.zeros(len(rows), everything, device=rows.device)
        spread_weights = known.scatter_add_(1, spread_cells, spread_weights)
        spread_cells = torch.arange(everything, device=rows.device).expand(len(rows), -1)
    while before < nside:
        finer = torch.from_numpy(children(spread_cells.cpu().numpy().ravel(), before))
        spread_cells = finer.to(rows.device).view(len(rows), -1)
        spread_weights = (spread_weights / finer.shape[1]).repeat_interleave(finer.shape[1], 1)
        before *= 2
    total = n_maps * len(cell_rotations(nside))
    return _mixture(spread_cells, spread_weights, total, n, options.uniform, generator)


def effective_samples(weights: Tensor, temperature: float) -> Tensor:
    """Return ``1 / Σ p²`` of probabilities (b, m), raised to 1/temperature, (b,)."""
    return 1 / tempered(weights, temperature).square().sum(1)


def tempered(weights: Tensor, temperature: float) -> Tensor:
    """Return probabilities (b, m) raised to 1/temperature and normalised again."""
    raised = weights.pow(1 / temperature)
    return raised / raised.sum(1, keepdim=True)


def _mixture(
    points: Tensor,
    weights: Tensor,
    total: int,
    n: int,
    uniform: float,
    generator: torch.Generator,
) -> Proposal:
    """Draw from weighted points (b, c), some of them equal, and uniformly from 0 to ``total``."""
    points, order = points.sort(1)
    cumulative = weights.gather(1, order).double().cumsum(1)
    cumulative = cumulative / cumulative[:, -1:]
    n_uniform = max(1, round(uniform * n))
    n_known = n - n_uniform
    b, device = len(points), points.device
    # one random number a particle: evenly spaced samples vary less than independent ones
    start = torch.rand(b, 1, generator=generator, device=device, dtype=torch.float64)
    steps = torch.arange(n_known, device=device, dtype=torch.float64)
    places = torch.searchsorted(cumulative, (start + steps) / n_known)
    known = points.gather(1, places.clamp(max=points.shape[1] - 1))
    anywhere = torch.randint(total, (b, n_uniform), generator=generator, device=device)
    drawn = torch.cat((known, anywhere), 1)
    first = torch.searchsorted(points, drawn)
    last = torch.searchsorted(points, drawn, right=True)
    padded = torch.nn.functional.pad(cumulative, (1, 0))
    share = padded.gather(1, last) - padded.gather(1, first)
    q = (n_known * share + n_uniform / total) / n
    return Proposal(drawn, q.log().float())


@lru_cache(maxsize=4)
def _pose_kernel(nside: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the neighbours of every cell and the shares of a Fisher kernel in them, (J, 27)."""
    near = torch.from_numpy(neighbours(nside))
    rotations = cell_rotations(nside)
    trace = (rotations[:, None] * rotations[near]).sum((-1, -2))
    width = math.radians(spacing(nside))
    kernel = torch.exp(((trace - 1) / 2 - 1) / width**2)
    return near.to(device), (kernel / kernel.sum(1, keepdim=True)).to(device)
