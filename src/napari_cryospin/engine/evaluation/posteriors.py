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
