"""Which candidates of every particle a run tells of and records: all of them, or those that differ.

An encoder with M heads, asked at S turns, gives M · S candidates, most of them near to each other.
What a run records of each epoch are M + 4 of them: the best of each head, and the best of the
others that are no neighbours of better ones. Where all of them together are few, what is told while
it goes on are all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_cryospin.engine.refining.candidate_modes import APART, distinct, within

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.state.pose_table import PoseTable

# others that are kept beside the best of each head
OTHERS = 4
# candidates of all particles together up to which all are told while a run goes on: 50 MB
_FEW = 1_000_000
# particles whose candidates are compared at once
_PART = 5000


class ToldCandidates(NamedTuple):
    """Candidates of n particles, k of each.

    Parameters
    ----------
    rotations, shifts, losses
        The candidates, (n, k, 3, 3), (n, k, 2), pixels, and (n, k).
    winner
        Which of them won, (n,); −1 where the particle has not been seen yet.
    heads
        Head of each, (n, k); −1 where there is none. None: each is a head of its own.
    counts
        How many of all candidates lie within 20° of each, (n, k). None: all are here.
    classes
        The class whose map each is a pose of, from 0, (n, k). None: there is one class.
    """

    rotations: NDArray[np.float32]
    shifts: NDArray[np.float32]
    losses: NDArray[np.float32]
    winner: NDArray[np.int64]
    heads: NDArray[np.int16] | None = None
    counts: NDArray[np.int16] | None = None
    classes: NDArray[np.uint8] | None = None


def told_candidates(poses: PoseTable, *, recorded: bool) -> ToldCandidates:
    """Return what is told of the candidates of all particles; copies that nobody else writes to.

    Parameters
    ----------
    poses
        Poses of all particles.
    recorded
        Whether they are told for the record of an epoch.
    """
    n, candidates = poses.candidate_losses.shape
    turns = poses.turns
    if turns == 1 or candidates == 0:
        # without candidates the winner is one of those before
        return _all(poses, poses.winner if candidates else _over(poses.winner, turns), None)
    if not recorded and n * candidates <= _FEW:
        heads = np.arange(candidates, dtype=np.int16) // turns
        return _all(poses, poses.winner, np.broadcast_to(heads, (n, candidates)))
    places, counts = [], []
    for part in torch.arange(n, device=poses.winner.device).split(_PART):
        kept = _kept(poses.candidate_losses[part], poses.candidates[part], turns)
        places.append(kept)
        counts.append(_neighbours(poses.candidates[part], kept))
    place = torch.cat(places)
    here, rows = place.clamp(min=0), torch.arange(n, device=place.device)[:, None]
    losses = poses.candidate_losses[rows, here].masked_fill(place < 0, torch.nan)
    return ToldCandidates(
        poses.candidates[rows, here].cpu().numpy(),
        poses.candidate_shifts[rows, here].cpu().numpy(),
        losses.cpu().numpy(),
        # the best of all is the best of its head, and these come first
        _over(poses.winner, turns).cpu().numpy(),
        _over(place, turns).cpu().numpy().astype(np.int16),
        torch.cat(counts).cpu().numpy().astype(np.int16),
        _classes(poses, poses.candidate_classes[rows, here]),
    )


def _all(poses: PoseTable, winner: Tensor, heads: NDArray[np.int16] | None) -> ToldCandidates:
    return ToldCandidates(
        poses.candidates.cpu().numpy().copy(),
        poses.candidate_shifts.cpu().numpy().copy(),
        poses.candidate_losses.cpu().numpy().copy(),
        winner.cpu().numpy().copy(),
        heads,
        classes=_classes(poses, poses.candidate_classes),
    )


def _classes(poses: PoseTable, told: Tensor) -> NDArray[np.uint8] | None:
    return None if poses.n_classes == 1 else told.cpu().numpy().copy()


def _kept(losses: Tensor, rotations: Tensor, turns: int) -> Tensor:
    """Return the places of the candidates of b particles that are kept, (b, M + 4); −1: none."""
    by_head = losses.nan_to_num(nan=torch.inf).unflatten(1, (-1, turns))
    first = by_head.argmin(2) + turns * torch.arange(by_head.shape[1], device=losses.device)
    best = distinct(rotations, losses, by_head.shape[1] + OTHERS)
    known = (best[:, :, None] == first[:, None]).any(2)
    # those that are not kept yet come first, in their order
    order = (known | (best < 0)).to(torch.int8).argsort(dim=1, stable=True)[:, :OTHERS]
    others = best.masked_fill(known, -1).gather(1, order)
    return torch.cat((first, others), 1)


def _neighbours(rotations: Tensor, places: Tensor) -> Tensor:
    """Return how many candidates lie in the mode of each of some of them, (b, k)."""
    rows = torch.arange(len(places), device=places.device)[:, None]
    counts = within(rotations, rotations[rows, places.clamp(min=0)], APART).sum(1)
    return counts.masked_fill(places < 0, 0)


def _over(places: Tensor, turns: int) -> Tensor:
    """Return the head of candidates; −1 stays −1."""
    return places.div(turns, rounding_mode="floor").clamp(min=-1)
