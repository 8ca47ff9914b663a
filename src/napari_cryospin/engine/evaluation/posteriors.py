"""Judging posteriors where the truth is known: calibration, and coverage of the true pose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.geometry.rotations import angular_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray


def reliability(levels: NDArray[np.floating], nominal: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the share of particles whose true pose lies in credible sets of nominal probabilities.

    Parameters
    ----------
    levels
        Probability of the smallest credible set with the true pose, of each particle, (n,).
    nominal
        Probabilities of credible sets, (q,); a calibrated posterior gives them back.
    """
    return np.asarray((np.asarray(levels)[:, None] <= nominal).mean(0))


def coverage(
    hypotheses: NDArray[np.floating], truth: NDArray[np.floating], tolerance: float
) -> NDArray[np.float64]:
    """Return the share of particles whose true pose is among their first k hypotheses, for all k.

    Parameters
    ----------
    hypotheses
        Poses in order of preference, (n, K, 3, 3); NaN where a particle has fewer.
    truth
        True poses in the same frame, (n, 3, 3).
    tolerance
        Largest angle to the true pose, degrees.

    Returns
    -------
    ndarray
        Shape (K,), ascending.
    """
    with np.errstate(invalid="ignore"):
        near = angular_distance(hypotheses, truth[:, None]) <= tolerance
    return np.asarray(np.logical_or.accumulate(near, axis=1).mean(0))


def common_rotation(
    first: NDArray[np.floating], second: NDArray[np.floating], tolerance: float
) -> tuple[float, float]:
    """Return what relates the two best poses of most particles: a pseudo-symmetry of the map.

    Parameters
    ----------
    first, second
        Poses of the two heaviest modes of each particle, (n, 3, 3).
    tolerance
        Largest angle between rotations that count as the same, degrees.

    Returns
    -------
    angle, share
        Angle of the rotation of the map that most particles agree on, degrees, and their share;
        NaN and 0 without particles.
    """
    if len(first) == 0:
        return float("nan"), 0.0
    turns = np.swapaxes(first, 1, 2) @ second
    # which of two modes is the heavier is chance: a turn and its inverse are one
    near = np.minimum(
        angular_distance(turns[:, None], turns[None]),
        angular_distance(turns[:, None], np.swapaxes(turns, 1, 2)[None]),
    )
    agreeing = (near <= tolerance).mean(1)
    best = int(agreeing.argmax())
    return float(angular_distance(turns[best], np.eye(3))), float(agreeing[best])
