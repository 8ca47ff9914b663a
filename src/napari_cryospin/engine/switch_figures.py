"""What is measured of auto-encoding after an epoch: whether to switch, and how good heads are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WeightBin:
    """Modes of candidates whose weights are alike: one point of a reliability diagram.

    Parameters
    ----------
    weight
        Their mean weight, in 0..1.
    right
        What they deserve, in 0..1: what the exact posterior has there, or the share of them that
        the true pose lies in.
    number
        How many there are.
    """

    weight: float
    right: float
    number: int


@dataclass(frozen=True)
class HeadFigures:
    """How well the heads' candidates stand for the exact posteriors of probe particles.

    Parameters
    ----------
    coverage
        Share of the exact posterior within 15° of a candidate, in 0..1.
    random_coverage
        The same of as many random poses.
    calibration_error
        Expected calibration error of the weights of the candidates' modes, in 0..1.
    weights
        Their reliability diagram, ten bins at most, ascending.
    """

    coverage: float
    random_coverage: float
    calibration_error: float
    weights: tuple[WeightBin, ...]


@dataclass(frozen=True)
class SwitchFigures:
    """What the criterion of the switch measured after an epoch.

    Parameters
    ----------
    gain
        Log-likelihood of the probe particles with the map less that with its rotational average,
        mean, nats.
    threshold
        Gain that one of the last epochs has to reach for auto-encoding to go on; None in the first
        ones.
    winner_in_best_mode
        Share of the probe particles whose winning head lies in the basin of the posterior's best
        mode.
    amortization_gap
        Mean error of the winning heads' poses, less that of the best pose nearby, as a share of
        the former.
    heads
        How well the candidates stand for the posterior; None in the figures of earlier versions.
    """

    gain: float
    threshold: float | None
    winner_in_best_mode: float
    amortization_gap: float
    heads: HeadFigures | None = None
