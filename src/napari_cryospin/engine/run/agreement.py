"""How far two starts of a run agree on the poses of the particles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.evaluation.alignment import align_rotations
from napari_cryospin.engine.geometry.cells import SAME_MODE
from napari_cryospin.engine.geometry.rotations import angular_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.run.starts import Start

# a gain counts where it is so many standard errors above 0
SIGNIFICANT = 3.0


def agreement(
    starts: list[Start],
    turns: NDArray[np.float64] | None = None,
    members: Tensor | None = None,
    present: Tensor | None = None,
) -> tuple[float | None, bool]:
    """Return how far the two best starts agree, and whether the second is as good as the best.

    Parameters
    ----------
    starts
        The starts that have ended.
    turns
        Turns that leave the map as it is, the identity among them, (g, 3, 3): mates agree.
    members
        Particles that belong to the map, bool, (n,): others have no pose to agree on.
    present
        Poses in the map that has the turns, (n, 3, 3): a start may have ended before the map was
        turned to its axes. By default the best start is of that map.

    Returns
    -------
    agree
        Share of the particles to which both gave the same pose; None where that is not known.
    rival
        Whether the held-out particles prefer neither.
    """
    judged = [start for start in starts if start.judgement is not None]
    if len(judged) < 2:
        return None, False
    order = sorted(judged, key=lambda start: -np.mean(list(_gains(start).values())))
    first, second = map(_gains, order[:2])
    # particles that were dropped in between were judged once
    both = sorted(first.keys() & second.keys())
    agree = _same_poses(order[0], order[1], turns, members, present)
    if len(both) < 2 or agree is None:
        return None, False
    difference = np.array([first[row] - second[row] for row in both])
    error = float(difference.std()) / len(difference) ** 0.5
    return agree, float(difference.mean()) < SIGNIFICANT * error


def _gains(start: Start) -> dict[int, float]:
    """Return the gain of every held-out particle by its row."""
    judged = start.judgement
    assert judged is not None
    return dict(zip(judged.rows.tolist(), judged.gain.tolist(), strict=True))


def _of_one_class(start: Start, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which particles, (n,), are in the class that most of some are in, in a start.

    Poses of different classes are told in different frames.
    """
    if start.classes is None or not seen.any():
        return seen
    classes = start.classes.cpu().numpy()
    return np.asarray(classes == np.bincount(classes[seen]).argmax())


def _same_poses(
    first: Start,
    second: Start,
    turns: NDArray[np.float64] | None,
    members: Tensor | None,
    present: Tensor | None,
) -> float | None:
    """Return the share of particles whose pose in one start lies in a mode of the other.

    None where the starts gave no candidates.
    """
    modes, own = (start.likely.cpu().numpy() for start in (first, second))
    if not modes.shape[1]:
        return None
    seen = np.isfinite(modes[:, 0, 0, 0]) & np.isfinite(own[:, 0, 0, 0])
    if members is not None:
        seen &= members.cpu().numpy()
    for start in (first, second):
        seen &= _of_one_class(start, seen)
    if not seen.any():
        return None
    modes, own = modes[seen], own[seen, 0]
    if turns is not None and present is not None:
        to_present = align_rotations(modes[:, 0], present.cpu().numpy()[seen], turns)
        modes = to_present.apply(modes)
    alignment = align_rotations(own, modes[:, 0], turns)
    distances = angular_distance(modes, alignment.apply(own)[:, None], turns)
    return float((np.nan_to_num(distances, nan=np.inf).min(1) <= SAME_MODE).mean())
