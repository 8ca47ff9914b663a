"""The verdict on a run of several classes: each is judged by itself, and told apart from others."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_cryospin.engine.judging.same_maps import SAME, likeness
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.run.judgement import reach_verdict
from napari_cryospin.engine.run.verdict_words import go_on_alone, go_on_with
from napari_cryospin.engine.runfolder.verdict import Cause, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.run.training import Training

# a class of fewer particles than this share is none
_NONE, _FEWEST = 0.02, 20
# what came of the classes, the worst first
_WORST = (
    Outcome.STUCK,
    Outcome.UNEXPLAINED,
    Outcome.COMPETING,
    Outcome.UNCERTAIN,
    Outcome.CONVERGED,
    Outcome.NO_STRUCTURE,
    Outcome.UNKNOWN,
)
_NOTHING = (Outcome.NO_STRUCTURE, Outcome.UNKNOWN)
# what a verdict tells of the symmetry of a run
_OF_A_SYMMETRY = (
    "symmetry",
    "symmetry_axis",
    "symmetry_frame",
    "symmetry_correlation",
    "symmetry_allowed",
    "symmetry_gain",
)
_TOO_FEW = ("The other classes hold too few particles to be judged.",)


def reach_verdicts(training: Training, halves: Sequence[HalfMaps | None] = ()) -> Verdict:
    """Return the verdict on a run of one class or several.

    Parameters
    ----------
    training
        The run.
    halves
        The half-maps of each class, where they have been made already.
    """
    if not training.problem.others:
        return reach_verdict(training, next(iter(halves), None))
    shares, each = training.class_share, {}
    made = dict(enumerate(halves))
    for number, share in enumerate(shares):
        own = training.of_class(number)
        if share >= _NONE and int(own.placed.sum()) >= _FEWEST:
            each[number] = reach_verdict(own, made.get(number))
    if not each:
        return Verdict(Outcome.UNKNOWN, ("No class holds enough particles to be judged.",))
    main = max(each, key=shares.__getitem__)
    same = _same(training, list(each))
    # a class that images of nothing have gathered in takes nothing from the others, nor does one
    # that shows a part of the particles of a larger one
    again = {min(pair, key=lambda n: (shares[n], n == main)) for pair in same}
    alone = {n: one for n, one in each.items() if n not in again}
    telling = [one for one in alone.values() if one.outcome not in _NOTHING] or [*alone.values()]
    worst = min(telling, key=lambda one: _WORST.index(one.outcome))
    holds_all = _holds_all(shares, each)
    cause = worst.cause or (Cause.SAME_CLASSES if same or holds_all else None)
    figures, symmetry = each[main], _symmetry_of_all(alone)
    if figures.symmetry is not None and symmetry is None:
        none: dict[str, Any] = dict.fromkeys(_OF_A_SYMMETRY)
        figures = replace(figures, **none)
    return replace(
        figures,
        outcome=worst.outcome,
        cause=cause,
        reasons=(
            *_words(shares, each, main),
            *_symmetry_words(alone, symmetry),
            *_same_words(same, holds_all=holds_all),
            *(_TOO_FEW if len(each) == 1 and not holds_all else ()),
        ),
        class_shares=shares,
        class_outcomes=tuple(
            str(each[n].outcome) if n in each else "" for n, _ in enumerate(shares)
        ),
        same_classes=tuple(f"{one + 1} {two + 1}" for one, two in same),
        warnings=tuple(dict.fromkeys(w for one in each.values() for w in one.warnings)),
    )


def _same(training: Training, classes: list[int]) -> list[tuple[int, int]]:
    """Return which pairs of classes show one structure."""
    maps = {n: map_of_grid(training.problem.grids[n]).cpu().numpy() for n in classes}
    pairs = itertools.combinations(classes, 2)
    return [(one, two) for one, two in pairs if likeness(maps[one], maps[two]) > SAME]


def _words(shares: tuple[float, ...], each: dict[int, Verdict], main: int) -> list[str]:
    """Return what became of every class, with all evidence of the largest one."""
    said = []
    for number, share in enumerate(shares):
        name, percent = f"Class {number + 1}", f"{100 * share:.0f} % of the particles"
        if number not in each:
            said.append(f"{name}, {percent}, holds too few to show a structure.")
            continue
        verdict = each[number]
        said.append(f"{name}, {percent}: {verdict.outcome}.")
        if number == main or verdict.outcome is not Outcome.CONVERGED:
            said += verdict.reasons
    return said


def _symmetry_of_all(classes: dict[int, Verdict]) -> str | None:
    """Return the point group that was found in every class; None where they differ."""
    first, *others = {one.symmetry for one in classes.values()}
    return None if others else first


def _symmetry_words(classes: dict[int, Verdict], of_all: str | None) -> list[str]:
    """Return how to go on with what was found: a run's symmetry is imposed on all its classes."""
    if of_all is not None:
        return [go_on_with(of_all)]
    found = {number + 1: one.symmetry for number, one in classes.items()}
    return [go_on_alone(name, number) for number, name in found.items() if name is not None]


def _holds_all(shares: tuple[float, ...], each: dict[int, Verdict]) -> bool:
    """Return whether one class shows a structure, and no other class is one."""
    others = [share for number, share in enumerate(shares) if number not in each]
    shown = all(verdict.outcome not in _NOTHING for verdict in each.values())
    return len(each) == 1 and shown and all(share < _NONE for share in others)


def _same_words(same: list[tuple[int, int]], *, holds_all: bool) -> list[str]:
    said = [f"Classes {one + 1} and {two + 1} are the same structure." for one, two in same]
    if holds_all:
        said.append("The particles are of the same structure: one class holds nearly all.")
    return [*said, "Fewer classes are enough."] if said else []
