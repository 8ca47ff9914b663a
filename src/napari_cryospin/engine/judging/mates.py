"""Mates: turns after which a map looks the same, as the poses that particles hesitate between tell.

An exactly symmetric molecule has them, and any of the poses is right; and so has the map of a
nearly symmetric one where particles went to the wrong mate as often as to the right one. Whether
the map explains the particles tells which of the two it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.evaluation.alignment import (
    PoseAlignment,
    apply_alignment,
    refine_map_alignment,
)
from napari_cryospin.engine.evaluation.fsc import fsc
from napari_cryospin.engine.geometry.cells import SAME_MODE
from napari_cryospin.engine.geometry.rotations import angular_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray

# a mode counts with so much of the probability
_LEAST_WEIGHT = 0.02
# turns within this angle are one, degrees; they are frequent in this share of the particles, and
# where there are so many times more than of turns at random, of which that share is so near
_SAME_TURN, _FREQUENT, _FEWEST, _CHANCE, _AT_RANDOM = 15.0, 0.05, 4, 5, 0.00095
# turns that are looked at, and elements of a group at most
_MOST_TURNS, _MOST_MATES = 6, 60
# correlation of the half-maps, one of them turned, from which on they look the same; the shells
_ALIKE, _SHELLS = 0.87, (1, 8)
# a turn is worth refining where the lowest shells correlate so far
_PROMISING, _LOWEST = 0.5, (1, 4)


@dataclass(frozen=True)
class Mates:
    """Turns of a map after which it looks the same.

    Parameters
    ----------
    turns
        The turns, the identity first, (g, 3, 3): a pose R has the mates R G.
    alike
        The least correlation of one half-map with the other one turned; 1 without any turns.
    tried
        The highest correlation among turns that were looked at; None where none were.
    """

    turns: NDArray[np.float64]
    alike: float
    tried: float | None = None

    @classmethod
    def none(cls, tried: float | None = None) -> Mates:
        """Return no mates but each pose itself."""
        return cls(np.eye(3)[None], 1.0, tried)


def find_mates(
    modes: NDArray[np.floating],
    weights: NDArray[np.floating],
    halves: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> Mates:
    """Return the turns between modes that leave a map as it is.

    Parameters
    ----------
    modes
        Poses of the best modes of some particles, (n, k, 3, 3).
    weights
        Their shares of the probability, (n, k).
    halves
        The half-maps, (D, D, D).
    """
    turns: list[NDArray[np.float64]] = []
    alike: list[float] = []
    tried: list[float] = []
    for turn in frequent_turns(modes, weights):
        if turns and angular_distance(np.array(turns), turn).min() < _SAME_TURN:
            continue
        refined, likeness = _refined(turn, halves)
        tried.append(likeness)
        if likeness >= _ALIKE:
            turns += [refined, refined.T]
            alike.append(likeness)
    best = max(tried, default=None)
    if not turns:
        return Mates.none(best)
    return Mates(closed(turns), min(alike), best)


def frequent_turns(
    modes: NDArray[np.floating], weights: NDArray[np.floating]
) -> list[NDArray[np.float64]]:
    """Return the turns from one mode of a particle to another that many have, (3, 3) each.

    The most frequent one first; arguments as of :func:`find_mates`.
    """
    k = weights.shape[1]
    seen = weights > _LEAST_WEIGHT
    pairs = [
        np.swapaxes(modes[both, i], 1, 2) @ modes[both, j]
        for i in range(k)
        for j in range(k)
        if i != j and (both := seen[:, i] & seen[:, j]).any()
    ]
    if not pairs:
        return []
    left = np.concatenate(pairs).astype(np.float64)
    left = left[angular_distance(left, np.eye(3)) > SAME_MODE]
    fewest = max(_FEWEST + _CHANCE * _AT_RANDOM * len(left), _FREQUENT * len(modes))
    found: list[NDArray[np.float64]] = []
    while len(left) and len(found) < _MOST_TURNS:
        flat = left.reshape(-1, 9)
        near = flat @ flat.T > 1 + 2 * math.cos(math.radians(_SAME_TURN))
        most = int(near.sum(1).argmax())
        if near[most].sum() < fewest:
            break
        turn = Rotation.from_matrix(left[near[most]]).mean().as_matrix()
        found.append(turn)
        left = left[angular_distance(left, turn) > 2 * _SAME_TURN]
    return found


def _refined(
    turn: NDArray[np.float64], halves: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> tuple[NDArray[np.float64], float]:
    """Return a turn refined by the half-maps, and how alike they are after it."""
    first, second = halves
    start = PoseAlignment(turn, False, np.zeros(1))
    curve = fsc(apply_alignment(first, start), second)
    if _mean(curve, _LOWEST) < _PROMISING:
        return turn, _mean(curve, _SHELLS)
    refined, shift = refine_map_alignment(first, second, start)
    return refined.rotation, _mean(fsc(apply_alignment(first, refined, shift), second), _SHELLS)


def _mean(curve: NDArray[np.float64], shells: tuple[int, int]) -> float:
    """Return the mean of a curve from one shell to another, inclusive."""
    return float(curve[shells[0] : shells[1] + 1].mean())


def closed(turns: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return turns with the identity and all their products, (g, 3, 3), 60 at most."""
    group = [np.eye(3)]
    waiting = list(turns)
    while waiting and len(group) < _MOST_MATES:
        turn = waiting.pop(0)
        if angular_distance(np.array(group), turn).min() < _SAME_TURN:
            continue
        waiting += [turn @ other for other in group] + [other @ turn for other in group]
        waiting.append(turn @ turn)
        group.append(turn)
    return np.array(group)
