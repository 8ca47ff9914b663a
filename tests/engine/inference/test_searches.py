"""When auto-decoding searches poses once more, and whose."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import exponential_map
from napari_cryospin.engine.inference.searches import Searches, changed_share
from napari_cryospin.engine.stages import DirectStage
from napari_cryospin.engine.state.pose_table import PoseTable

if TYPE_CHECKING:
    from napari_cryospin.engine.state.problem import Problem

N = 100
ROWS = torch.arange(N)
QUARTER = exponential_map(torch.deg2rad(torch.tensor([[0.0, 0, 0], [90, 0, 0]])))


def problem_with(in_doubt: int) -> Problem:
    """Return particles of which the first so many have two modes."""
    losses = torch.ones(N, 2)
    losses[in_doubt:, 1] = 2
    poses = PoseTable.empty(N, 2, torch.device("cpu"))
    poses.candidates, poses.candidate_losses = QUARTER.repeat(N, 1, 1, 1), losses
    poses.rotations = QUARTER[:1].repeat(N, 1, 1)
    return cast(
        "Problem",
        SimpleNamespace(
            poses=poses,
            members=poses.members,
            part=None,
            particles=SimpleNamespace(box=32, n=N),
            group=torch.eye(3)[None],
            device=torch.device("cpu"),
        ),
    )


def begun(problem: Problem, limit: float = math.inf, **settings: object) -> Searches:
    """Return the searches of a stage after its first one."""
    stage = DirectStage(
        **{"until": "criterion", "epochs": 40, "searches": 4, "searched": "doubtful"} | settings
    )
    searches = Searches(problem, stage, 8.0, limit)
    searches.begin()
    if searches.due(0):
        searches.made(0)
    return searches


def turned(problem: Problem, number: int) -> None:
    """Give so many particles another mode."""
    problem.poses.rotations[:number] = problem.poses.rotations[:number] @ QUARTER[1]


@pytest.mark.parametrize(("in_doubt", "searched"), [(0, 0), (20, 20), (40, N), (100, N)])
def test_where_many_are_in_doubt_all_are(in_doubt: int, searched: int) -> None:
    assert len(begun(problem_with(in_doubt)).chosen(ROWS)) == searched


def test_a_stage_of_so_many_epochs_spaces_them_evenly() -> None:
    searches = Searches(
        problem_with(0), DirectStage(until="epochs", epochs=12, searches=3, searched="all"), 8.0
    )
    due = []
    for epoch in range(12):
        if searches.due(epoch):
            searches.made(epoch)
            due.append(epoch)
        assert not searches.go_on(0.0, 8.0)
    assert due == [0, 4, 8]
    assert searches.after(4) == 1


def test_one_that_ends_by_its_criterion_searches_once_poses_are_quiet() -> None:
    searches = begun(problem_with(30))
    assert not searches.go_on(0.1, 8.0)
    assert not searches.due(5)
    assert searches.go_on(0.01, 8.0)
    assert searches.after(5) == 1
    assert searches.due(6)
    # by the doubt that there is now
    assert searches.chosen(ROWS).tolist() == list(range(30))
    searches.made(6)
    assert not searches.due(6)
    assert not searches.due(7)


@pytest.mark.parametrize(("in_doubt", "again"), [(0, False), (2, False), (3, True), (30, True)])
def test_little_doubt_is_not_worth_a_search(in_doubt: int, again: bool) -> None:
    assert begun(problem_with(in_doubt)).go_on(0.0, 8.0) is again


def test_poses_found_by_low_frequencies_alone_are_looked_at_once_more() -> None:
    problem = problem_with(2)
    searches = begun(problem, limit=7.0)
    assert searches.chosen(ROWS).tolist() == ROWS.tolist()
    searches.found(ROWS)
    assert not searches.go_on(0.1, 8.0)
    assert searches.go_on(0.01, 8.0)
    assert searches.chosen(ROWS).tolist() == [0, 1]
    searches.made(5)
    # and then only where there is much doubt
    turned(problem, 30)
    assert not searches.go_on(0.0, 8.0)


@pytest.mark.parametrize(("found", "again"), [(0, False), (1, False), (2, True)])
def test_a_search_that_found_little_is_the_last(found: int, again: bool) -> None:
    problem = problem_with(30)
    searches = begun(problem)
    assert searches.go_on(0.0, 8.0)
    searches.made(5)
    turned(problem, found)
    assert searches.go_on(0.0, 8.0) is again


def test_there_are_no_more_than_asked_for() -> None:
    problem = problem_with(30)
    searches = begun(problem, searches=2)
    assert searches.go_on(0.0, 8.0)
    searches.made(5)
    turned(problem, 30)
    assert not searches.go_on(0.0, 8.0)
    assert not begun(problem, searches=0).go_on(0.0, 8.0)


def test_all_are_searched_again_where_that_is_asked_for() -> None:
    searches = begun(problem_with(0), searched="all")
    assert searches.go_on(0.0, 8.0)
    assert torch.equal(searches.chosen(ROWS), ROWS)


def test_a_search_that_is_due_is_kept() -> None:
    problem = problem_with(30)
    before = begun(problem)
    before.go_on(0.0, 8.0)
    after = Searches(problem, before._stage, 8.0)
    after.load_state(before.state())
    assert after.due(6)
    assert torch.equal(after.chosen(ROWS), before.chosen(ROWS))
    after.made(6)
    turned(problem, 1)
    assert not after.go_on(0.0, 8.0)


def test_modes_are_others_beyond_ten_degrees() -> None:
    before = QUARTER[:1].repeat(4, 1, 1)
    angles = torch.deg2rad(torch.tensor([0.0, 9, 11, 180]))
    after = exponential_map(torch.stack((angles, 0 * angles, 0 * angles), 1)) @ before
    one, two = Poses.centred(before), Poses.centred(after)
    assert changed_share(one, two) == 0.5
    classes = torch.tensor([0, 1, 0, 0])
    assert changed_share(replace(one, classes=classes), replace(two, classes=0 * classes)) == 0.75
