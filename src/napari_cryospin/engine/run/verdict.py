"""The verdict at the end of a run, in plain words and with its evidence."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_cryospin.engine.evaluation.alignment import align_rotations
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.modes import SAME_MODE

if TYPE_CHECKING:
    from napari_cryospin.engine.inference.halves import HalfMaps
    from napari_cryospin.engine.run.starts import Start
    from napari_cryospin.engine.run.training import Training

# a gain counts where it is so many standard errors above 0
_SIGNIFICANT = 3.0
# what a particle must tell of its pose, nats: less than this is one pose in three
_LEAST_INFORMATION = 1.0
# share of the particles to which two starts must give the same pose
_AGREE = 0.5
# share of the poses that must be expected to be right: below the first the poses are uncertain,
# below the second they have not converged
_CERTAIN, _MOSTLY = 0.9, 0.5
# figures of a verdict that are numbers or None
_NUMBERS = ("gain", "gain_error", "information", "expected_right", "starts_agree")


class Outcome(StrEnum):
    """What became of a run."""

    CONVERGED = "converged"
    COMPETING = "several structures compete"
    UNCERTAIN = "poses are uncertain"
    STUCK = "poses have not converged"
    NO_STRUCTURE = "no structure in the data"
    UNKNOWN = "not judged"


@dataclass(frozen=True)
class Verdict:
    """What became of a run, and why.

    Parameters
    ----------
    outcome
        The verdict.
    reasons
        Its evidence, one sentence each.
    gain, gain_error
        Mean log-likelihood of the held-out particles with the map, less that with its rotational
        average, and its standard error, nats per particle; None where none were held out.
    information
        What a held-out particle tells of its pose, mean, nats.
    expected_right
        Share of the held-out particles whose poses are expected to be right, as far as the map is;
        None where the map shows no structure.
    starts_agree
        Share of the particles to which the best start and the next best one gave the same pose;
        None with a single start.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    gain: float | None = None
    gain_error: float | None = None
    information: float | None = None
    expected_right: float | None = None
    starts_agree: float | None = None

    def figures(self) -> dict[str, Any]:
        """Return the verdict by names, for a file."""
        return asdict(self)

    @classmethod
    def of_figures(cls, figures: Any) -> Self:
        """Return the verdict that :meth:`figures` gave.

        Names that another version wrote are left out.

        Raises
        ------
        ValueError
            If they tell of no verdict, or a value is not what it should be.
        """
        if not isinstance(figures, dict):
            raise ValueError("it holds no names")
        reasons = figures.get("reasons")
        if not isinstance(reasons, list) or not all(isinstance(text, str) for text in reasons):
            raise ValueError("it holds no reasons")
        numbers = {name: figures.get(name) for name in _NUMBERS}
        for name, value in numbers.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and math.isfinite(value)):
                raise ValueError(f"its {name} is no number")
        return cls(Outcome(str(figures.get("outcome"))), tuple(reasons), **numbers)


def reach_verdict(training: Training, halves: HalfMaps | None = None) -> Verdict:
    """Return the verdict on the present map and poses of a run."""
    judged = training.judge()
    if judged is None:
        return Verdict(Outcome.UNKNOWN, ("Too few particles were held out to judge the map.",))
    information = float(judged.information.mean())
    agree, rival = _agreement(training.starts.ended)
    reasons = [
        f"The map raises the log-likelihood of {len(judged.gain)} held-out particles by "
        f"{judged.mean_gain:.2f} ± {judged.gain_error:.2f} nats each over its rotational average.",
        f"A particle tells {information:.1f} nats of its pose.",
    ]
    expected_right = None
    outcome = Outcome.CONVERGED
    if judged.mean_gain < _SIGNIFICANT * judged.gain_error or information < _LEAST_INFORMATION:
        outcome = Outcome.NO_STRUCTURE
    else:
        expected_right = float(training.pose_confidence().mean())
        reasons.append(
            f"{100 * expected_right:.0f} % of their poses are expected to be right, if the map is."
        )
        if expected_right < _CERTAIN:
            outcome = Outcome.STUCK if expected_right < _MOSTLY else Outcome.UNCERTAIN
        if agree is not None:
            reasons.append(
                f"The two best starts agree on the poses of {100 * agree:.0f} % of the particles."
            )
            if agree < _AGREE and rival:
                outcome = Outcome.COMPETING
                reasons.append("The held-out particles do not prefer one of them.")
    return Verdict(
        outcome,
        tuple(reasons),
        judged.mean_gain,
        judged.gain_error,
        information,
        expected_right,
        agree,
    )


def _agreement(starts: list[Start]) -> tuple[float | None, bool]:
    """Return how far the two best starts agree, and whether the second is as good as the best."""
    judged = [start for start in starts if start.judgement is not None]
    if len(judged) < 2:
        return None, False
    order = sorted(judged, key=lambda start: -np.mean(list(_gains(start).values())))
    first, second = map(_gains, order[:2])
    # particles that were dropped in between were judged once
    both = sorted(first.keys() & second.keys())
    agree = _same_poses(*order[:2])
    if len(both) < 2 or agree is None:
        return None, False
    difference = np.array([first[row] - second[row] for row in both])
    error = float(difference.std()) / len(difference) ** 0.5
    return agree, float(difference.mean()) < _SIGNIFICANT * error


def _gains(start: Start) -> dict[int, float]:
    """Return the gain of every held-out particle by its row."""
    judged = start.judgement
    assert judged is not None
    return dict(zip(judged.rows.tolist(), judged.gain.tolist(), strict=True))


def _same_poses(first: Start, second: Start) -> float | None:
    """Return the share of particles whose pose in one start lies in a mode of the other.

    None where the starts gave no candidates.
    """
    seen = (first.poses["winning_head"] >= 0) & (second.poses["winning_head"] >= 0)
    rows = seen.nonzero().flatten().cpu()
    if not len(rows) or not first.poses["candidates"].shape[1]:
        return None
    own = second.poses["rotations"].cpu()[rows].numpy()
    alignment = align_rotations(own, first.poses["rotations"].cpu()[rows].numpy())
    modes = first.poses["candidates"].cpu()[rows].numpy()
    known = first.poses["candidate_losses"].isfinite().cpu()[rows].numpy()
    distances = angular_distance(modes, alignment.apply(own)[:, None])
    return float((np.where(known, distances, np.inf).min(1) <= SAME_MODE).mean())
