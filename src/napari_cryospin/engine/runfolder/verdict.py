"""The verdict at the end of a run, in plain words and with its evidence."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

# figures of a verdict that are numbers or None
_NUMBERS = (
    "gain",
    "gain_error",
    "information",
    "expected_right",
    "starts_agree",
    "misfit",
    "misfit_without_worst",
    "explained",
    "outliers",
    "shift_gain",
    "shift_rms",
    "variability_gain",
    "mates",
    "mates_alike",
    "resolution",
    "shared_by_halves",
    "cone_ratio",
    "sampling",
)
_WRONG_KIND = "its {} is something else"


class Outcome(StrEnum):
    """What became of a run."""

    CONVERGED = "converged"
    UNEXPLAINED = "the map does not explain the particles"
    COMPETING = "several structures compete"
    UNCERTAIN = "poses are uncertain"
    STUCK = "poses have not converged"
    NO_STRUCTURE = "no structure in the data"
    UNKNOWN = "not judged"


class Cause(StrEnum):
    """What is at fault where a run has not come out right.

    OFF_CENTRE: particles lie off-centre, and shifts are not estimated. SEVERAL_STRUCTURES: the
    stack shows more than one. OUTLIERS: images that are no particles, or not of this one.
    MATES: the map looks symmetric, and particles differ from it: it may be an average of mates.
    TOO_LITTLE_SIGNAL: particles tell too little of their poses.
    """

    OFF_CENTRE = "off-centre"
    SEVERAL_STRUCTURES = "several structures"
    OUTLIERS = "outliers"
    MATES = "mates undetermined"
    TOO_LITTLE_SIGNAL = "too little signal"


class WarningKind(StrEnum):
    """What a verdict warns of beside what became of the run."""

    CONTRAST = "contrast"
    PIXEL_SIZE = "pixel size"
    VIEWS = "views"


@dataclass(frozen=True)
class Warned:
    """A warning: its kind, and one sentence."""

    kind: WarningKind
    text: str


@dataclass(frozen=True)
class Verdict:
    """What became of a run, and why.

    Parameters
    ----------
    outcome
        The verdict.
    reasons
        Its evidence, one sentence each, and at the end what can be done.
    gain, gain_error
        Mean log-likelihood of the held-out particles with the map, less that with its rotational
        average, and its standard error, nats per particle; None where none were held out.
    information
        What a held-out particle tells of its pose, mean, nats.
    expected_right
        Share of the held-out particles whose poses are expected to be right, as far as the map is,
        modulo its mates; None where the map shows no structure.
    starts_agree
        Share of the particles to which the best start and the next best one gave the same pose;
        None with a single start.
    cause
        What is at fault; None where nothing is, or it was not found.
    misfit, misfit_without_worst
        Signal that the map leaves unexplained over what it explains, of all images that were looked
        at, and of all but the worst three in ten; None where that cannot be told.
    explained
        Share of the signal that the map explains, 1 / (1 + misfit).
    outliers
        Share of the images that hold far less of the map than the others do; their poses are not
        counted among those that are expected to be right.
    shift_gain, shift_rms
        What poses gain from shifts that were not estimated, median, nats, and their size along each
        axis, pixels. None where nothing was in doubt, as for the following.
    variability_gain
        What one component of variability gains on particles that it was not found from, nats.
    shares
        Shares of the particles of two structures, where there are several.
    mates, mates_alike, symmetry
        Turns after which the map looks the same, the identity included; the least correlation of
        the half-maps then; the point group that they are.
    resolution, shared_by_halves
        Where independent halves agree no more, Å, and what is coarser they have in common. None
        where halves share poses; the first also where they agree on nothing else.
    cone_ratio, sampling
        How evenly the map is known: area under the lowest FSC in a cone over that under the highest
        (cFAR), and the sampling compensation factor of the views; 1 is even.
    warnings
        What else is likely to be wrong.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    gain: float | None = None
    gain_error: float | None = None
    information: float | None = None
    expected_right: float | None = None
    starts_agree: float | None = None
    cause: Cause | None = None
    misfit: float | None = None
    misfit_without_worst: float | None = None
    explained: float | None = None
    outliers: float | None = None
    shift_gain: float | None = None
    shift_rms: float | None = None
    variability_gain: float | None = None
    shares: tuple[float, ...] | None = None
    mates: int | None = None
    mates_alike: float | None = None
    symmetry: str | None = None
    resolution: float | None = None
    shared_by_halves: float | None = None
    cone_ratio: float | None = None
    sampling: float | None = None
    warnings: tuple[Warned, ...] = ()

    def figures(self) -> dict[str, Any]:
        """Return the verdict by names, for a file."""
        return asdict(self)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Its reasons and warnings."""
        return (*self.reasons, *(f"Warning: {each.text}" for each in self.warnings))

    @classmethod
    def of_figures(cls, figures: Any) -> Self:
        """Return the verdict that :meth:`figures` gave.

        Names that another version wrote are left out, and those that it did not write are None.

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
            if value is not None and not _is_number(value):
                raise ValueError(f"its {name} is no number")
        cause, symmetry, shares = (figures.get(name) for name in ("cause", "symmetry", "shares"))
        if symmetry is not None and not isinstance(symmetry, str):
            raise ValueError(_WRONG_KIND.format("symmetry"))
        if shares is not None and not (isinstance(shares, list) and all(map(_is_number, shares))):
            raise ValueError(_WRONG_KIND.format("shares"))
        return cls(
            Outcome(str(figures.get("outcome"))),
            tuple(reasons),
            **numbers,
            cause=None if cause is None else Cause(str(cause)),
            symmetry=symmetry,
            shares=None if shares is None else tuple(shares),
            warnings=_warnings(figures.get("warnings", [])),
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _warnings(found: Any) -> tuple[Warned, ...]:
    """Return the warnings that a file holds."""
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(_WRONG_KIND.format("list of warnings"))
    return tuple(Warned(WarningKind(str(x.get("kind"))), str(x.get("text"))) for x in found)
