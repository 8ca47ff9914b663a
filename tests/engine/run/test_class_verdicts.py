"""What the verdicts on several classes come to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import torch

from napari_cryospin.engine.run import class_verdicts
from napari_cryospin.engine.run.class_verdicts import reach_verdicts
from napari_cryospin.engine.runfolder.verdict import Cause, Outcome, Verdict

if TYPE_CHECKING:
    from napari_cryospin.engine.run.training import Training

GOOD = Verdict(Outcome.CONVERGED, ("It is.",), gain=9.0)


def training_with(shares: tuple[float, ...], n: int = 1000) -> Training:
    """Return what stands for a run of classes of such shares."""

    def of_class(number: int) -> object:
        placed = torch.zeros(n, dtype=torch.bool)
        placed[: round(shares[number] * n)] = True
        return SimpleNamespace(placed=placed, number=number)

    problem = SimpleNamespace(others=(None,) * (len(shares) - 1))
    return cast("Training", SimpleNamespace(problem=problem, class_share=shares, of_class=of_class))


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> dict[int, Verdict]:
    """The verdict on each class, by its number, and no two classes alike."""
    found: dict[int, Verdict] = {}
    monkeypatch.setattr(class_verdicts, "reach_verdict", lambda own, _: found[own.number])
    monkeypatch.setattr(class_verdicts, "_same", lambda *_: [])
    return found


def test_the_worst_of_the_classes_is_what_the_run_came_to(verdicts: dict[int, Verdict]) -> None:
    doubtful = Verdict(Outcome.UNCERTAIN, ("Who knows.",), cause=Cause.MATES)
    verdicts |= {0: GOOD, 1: doubtful}
    found = reach_verdicts(training_with((0.7, 0.3)))
    assert found.outcome is Outcome.UNCERTAIN and found.cause is Cause.MATES
    assert found.gain == GOOD.gain and found.class_shares == (0.7, 0.3)
    assert found.class_outcomes == ("converged", "poses are uncertain")
    assert found.reasons == (
        "Class 1, 70 % of the particles: converged.",
        "It is.",
        "Class 2, 30 % of the particles: poses are uncertain.",
        "Who knows.",
    )


def test_a_class_of_nothing_takes_nothing_from_the_others(verdicts: dict[int, Verdict]) -> None:
    nothing = Verdict(Outcome.NO_STRUCTURE, ("It shows none.",), cause=Cause.TOO_LITTLE_SIGNAL)
    verdicts |= {0: nothing, 1: GOOD, 2: GOOD}
    found = reach_verdicts(training_with((0.1, 0.4, 0.495, 0.005)))
    assert found.outcome is Outcome.CONVERGED and found.cause is None
    assert found.class_outcomes == (str(Outcome.NO_STRUCTURE), "converged", "converged", "")
    assert found.reasons[-1].startswith("Class 4, 0 % of the particles, holds too few")
    verdicts |= {1: nothing, 2: nothing}
    assert reach_verdicts(training_with((0.1, 0.4, 0.5))).outcome is Outcome.NO_STRUCTURE


def test_classes_that_are_the_same_are_told(
    verdicts: dict[int, Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts |= {0: GOOD, 1: GOOD}
    monkeypatch.setattr(class_verdicts, "_same", lambda *_: [(0, 1)])
    found = reach_verdicts(training_with((0.5, 0.5)))
    assert found.outcome is Outcome.CONVERGED and found.cause is Cause.SAME_CLASSES
    assert found.same_classes == ("1 2",)
    assert "Classes 1 and 2 are the same structure." in found.reasons
    # the smaller of them adds nothing
    verdicts[0] = Verdict(Outcome.UNCERTAIN, ("Few.",))
    assert reach_verdicts(training_with((0.1, 0.9))).outcome is Outcome.CONVERGED
    again = Verdict.of_figures(
        found.figures()
        | {"class_shares": [0.5, 0.5]}
        | {
            name: list(getattr(found, name))
            for name in ("reasons", "class_outcomes", "same_classes")
        }
        | {"warnings": []}
    )
    assert again == found


def test_nobody_in_any_class_is_not_judged(verdicts: dict[int, Verdict]) -> None:
    assert reach_verdicts(training_with((0.01, 0.01), 100)).outcome is Outcome.UNKNOWN


def test_one_class_that_holds_all_is_told(verdicts: dict[int, Verdict]) -> None:
    verdicts |= {1: GOOD}
    found = reach_verdicts(training_with((0.0, 1.0, 0.0)))
    assert found.outcome is Outcome.CONVERGED and found.cause is Cause.SAME_CLASSES
    assert "one class holds nearly all" in " ".join(found.reasons)


@pytest.mark.parametrize(
    ("shares", "n", "outcome", "all_in_one"),
    [
        ((0.99, 0.01), 1000, Outcome.CONVERGED, True),
        # no class that is none, and too few to be judged
        ((100 / 115, 15 / 115), 115, Outcome.CONVERGED, False),
        ((0.24, 0.19, 0.19, 0.19, 0.19), 100, Outcome.CONVERGED, False),
        # nothing tells that it shows a structure
        ((0.99, 0.01), 1000, Outcome.UNKNOWN, False),
        ((0.99, 0.01), 1000, Outcome.NO_STRUCTURE, False),
    ],
)
def test_one_class_holds_nearly_all_only_where_it_does(
    verdicts: dict[int, Verdict],
    shares: tuple[float, ...],
    n: int,
    outcome: Outcome,
    *,
    all_in_one: bool,
) -> None:
    verdicts |= {0: Verdict(outcome, ("So it is.",))}
    found = reach_verdicts(training_with(shares, n))
    words = " ".join(found.reasons)
    assert (found.cause is Cause.SAME_CLASSES) is all_in_one
    assert ("are of the same structure" in words) is all_in_one
    assert ("The other classes hold too few particles to be judged." in words) is not all_in_one
