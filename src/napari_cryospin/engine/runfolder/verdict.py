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
    "symmetry_correlation",
    "symmetry_allowed",
    "symmetry_gain",
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
    TOO_LITTLE_SIGNAL: particles tell too little of their poses. SAME_CLASSES: several classes show
    one structure.
    """

    OFF_CENTRE = "off-centre"
    SEVERAL_STRUCTURES = "several structures"
    OUTLIERS = "outliers"
    MATES = "mates undetermined"
    TOO_LITTLE_SIGNAL = "too little signal"
    SAME_CLASSES = "classes of one structure"


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
    mates, mates_alike
        Turns after which the map looks the same, the identity included; the least correlation of
        the half-maps then.
    symmetry
        Point group of the molecule, where it is a larger one than the run was told; of several
        classes, where all that were judged have it.
    pseudo_symmetry
        Point group that the map nearly has, and the particles have not.
    symmetry_axis
        Direction of the main axis of either in the map, (x, y, z).
    symmetry_frame
        The frame in which the map has its axes: a rotation, row by row, and where they meet, from
        the middle of the box, (x, y, z), working pixels; 12 numbers.
    symmetry_correlation, symmetry_allowed
        Least correlation of the half-maps after a turn of it, and without any.
    symmetry_gain
        How much more likely held-out particles are by a map that has it, nats each.
    class_shares, class_outcomes
        Share of the particles in each class, and what became of it; None of a run with one class.
        The figures above are then those of the largest one.
    same_classes
        Pairs of classes that show one structure, from 1, such as "1 3".
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
    pseudo_symmetry: str | None = None
    symmetry_axis: tuple[float, ...] | None = None
    symmetry_frame: tuple[float, ...] | None = None
    symmetry_correlation: float | None = None
    symmetry_allowed: float | None = None
    symmetry_gain: float | None = None
    class_shares: tuple[float, ...] | None = None
    class_outcomes: tuple[str, ...] | None = None
    same_classes: tuple[str, ...] | None = None
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
        cause = figures.get("cause")
        names, lists = (
            {name: figures.get(name) for name in kind}
            for kind in (
                ("symmetry", "pseudo_symmetry"),
                ("shares", "symmetry_axis", "symmetry_frame", "class_shares"),
            )
        )
        texts = {name: figures.get(name) for name in ("class_outcomes", "same_classes")}
        for name, value in texts.items():
            if value is not None and not (
                isinstance(value, list) and all(isinstance(each, str) for each in value)
            ):
                raise ValueError(_WRONG_KIND.format(name))
        for name, value in names.items():
            if value is not None and not isinstance(value, str):
                raise ValueError(_WRONG_KIND.format(name))
        for name, value in lists.items():
            if value is not None and not (isinstance(value, list) and all(map(_is_number, value))):
                raise ValueError(_WRONG_KIND.format(name))
        return cls(
            Outcome(str(figures.get("outcome"))),
            tuple(reasons),
            **numbers,
            cause=None if cause is None else Cause(str(cause)),
            **names,
            shares=_tuple(lists["shares"]),
            symmetry_axis=_tuple(lists["symmetry_axis"]),
            symmetry_frame=_tuple(lists["symmetry_frame"]),
            class_shares=_tuple(lists["class_shares"]),
            class_outcomes=_tuple(texts["class_outcomes"]),
            same_classes=_tuple(texts["same_classes"]),
            warnings=_warnings(figures.get("warnings", [])),
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _tuple(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def _warnings(found: Any) -> tuple[Warned, ...]:
    """Return the warnings that a file holds."""
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(_WRONG_KIND.format("list of warnings"))
    return tuple(Warned(WarningKind(str(x.get("kind"))), str(x.get("text"))) for x in found)
