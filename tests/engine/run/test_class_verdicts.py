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


def symmetric(name: str | None, outcome: Outcome = Outcome.CONVERGED) -> Verdict:
    """Return the verdict on a class in which a symmetry was found."""
    axis = None if name is None else (0.0, 0.0, 1.0)
    return Verdict(outcome, (f"It is {name}.",), symmetry=name, symmetry_axis=axis)


ALONE = "Not all classes have the symmetry {} of class {}: to go on with it, export that class"


@pytest.mark.parametrize(
    ("found", "of_all", "advised"),
    [
        (("C4", "C4"), "C4", ["Go on with C4: the button in Results"]),
        (("C4", None), None, [ALONE.format("C4", 1), "(export --classes 1)"]),
        ((None, "C4"), None, [ALONE.format("C4", 2), "(export --classes 2)"]),
        (("C4", "D2"), None, [ALONE.format("C4", 1), ALONE.format("D2", 2)]),
        ((None, None), None, []),
    ],
)
def test_a_symmetry_of_the_run_is_one_of_all_its_classes(
    verdicts: dict[int, Verdict],
    found: tuple[str | None, str | None],
    of_all: str | None,
    advised: list[str],
) -> None:
    verdicts |= {number: symmetric(name) for number, name in enumerate(found)}
    told = reach_verdicts(training_with((0.7, 0.3)))
    words = " ".join(told.reasons)
    assert told.symmetry == of_all
    assert told.symmetry_axis == (None if of_all is None else (0.0, 0.0, 1.0))
    assert all(each in words for each in advised)
    assert ("Go on with" in words) is (of_all is not None)
    assert words.count("Not all classes") == len({*found} - {None}) * (of_all is None)
    # what was found in the largest one is told whatever the others are
    assert f"It is {found[0]}." in words


def test_a_class_that_repeats_another_has_no_say_in_the_symmetry(
    verdicts: dict[int, Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts |= {0: symmetric("C4"), 1: symmetric(None)}
    monkeypatch.setattr(class_verdicts, "_same", lambda *_: [(0, 1)])
    for shares in ((0.7, 0.3), (0.5, 0.5)):
        assert reach_verdicts(training_with(shares)).symmetry == "C4"
    # one that the particles see no structure in is a class of its own
    verdicts[1] = symmetric(None, Outcome.NO_STRUCTURE)
    monkeypatch.setattr(class_verdicts, "_same", lambda *_: [])
    assert reach_verdicts(training_with((0.7, 0.3))).symmetry is None


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
