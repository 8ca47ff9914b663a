"""The criterion of the switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.geometry.rotations import exponential_map
from napari_cryospin.engine.judging.evidence import judge_with_posteriors
from napari_cryospin.engine.judging.switching import SwitchCriterion, amortization_gap
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.switch_figures import HeadFigures

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.state.problem import Problem


@pytest.mark.parametrize(
    ("gains", "over"),
    [
        ([], False),
        ([10.0] * 5, False),
        ([10.0] * 6, True),
        ([10.0, 11.0, 12.0, 13.0, 14.0, 15.0], False),
        ([10.0, 9.0, 9.0, 9.0, 9.0, 9.0], True),
        # it dips, and rises above what it was
        ([10.0, 9.0, 9.0, 9.0, 9.0, 10.2], False),
        # a rise too small to wait for, as a share, and in nats
        ([100.0, 100.0, 100.0, 100.0, 100.0, 100.9], True),
        ([0.0, 0.05, -0.05, 0.0, 0.05, 0.0], True),
        ([-1.0, -0.9, -0.5, -0.5, -0.5, -0.5], False),
    ],
)
def test_auto_encoding_goes_on_while_the_gain_rises(gains: list[float], over: bool) -> None:
    criterion = SwitchCriterion(batches=100)
    criterion.gains = gains
    assert criterion.over is over


def test_the_threshold_is_what_one_of_the_last_epochs_has_to_reach() -> None:
    criterion = SwitchCriterion(batches=100)
    criterion.gains = [50.0] * 5
    assert criterion.threshold is None
    criterion.gains += [50.51]
    assert criterion.threshold == pytest.approx(50.5)
    assert not criterion.over
    criterion.gains += [50.6] * 5
    assert criterion.threshold == pytest.approx(50.51 * 1.01)
    assert criterion.over


def test_patience_is_counted_in_batches_and_at_least_three_epochs() -> None:
    assert SwitchCriterion(batches=45).patience == 12
    assert SwitchCriterion(batches=800).patience == 3


def test_heads_know_once_they_have_said_so_twice(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    learning, held = torch.arange(150), torch.arange(150, 200)
    criterion = SwitchCriterion(batches=100)
    coverage = 0.0
    monkeypatch.setattr(
        "napari_cryospin.engine.judging.switching.head_figures",
        lambda *_: HeadFigures(coverage, 0.0, 0.0, ()),
    )

    def known(share: float, right: bool) -> bool:
        nonlocal coverage
        coverage = share
        own = judge_with_posteriors(problem, learning, held)[0].modes[:, 0]
        problem.poses.rotations[held] = own if right else own.flip(0)
        criterion.measure(problem, ImageModel.within(32, 16), learning, held)
        return criterion.heads_know

    assert not known(0.96, right=True)
    assert known(0.96, right=True)
    # either figure takes it back, and it begins to count anew
    assert not known(0.94, right=True)
    assert not known(0.96, right=True)
    assert not known(0.96, right=False)
    assert not known(0.96, right=True)
    assert known(1.0, right=True)
    after = SwitchCriterion(batches=100)
    after.load_state(criterion.state())
    assert after.heads_know


def test_right_poses_lie_in_the_best_mode(problem: Problem, true_rotations: Tensor) -> None:
    model = ImageModel.within(32, 16)
    held = problem.held_out.nonzero().flatten()
    learning = (~problem.held_out).nonzero().flatten()
    criterion = SwitchCriterion(batches=100)
    problem.poses.rotations = true_rotations.clone()
    right = criterion.measure(problem, model, learning, held)
    problem.poses.rotations = true_rotations.flip(0)
    wrong = criterion.measure(problem, model, learning, held)
    assert right.winner_in_best_mode > 0.9
    assert wrong.winner_in_best_mode < 0.2
    # the map explains the particles whatever their poses
    assert right.gain == pytest.approx(wrong.gain)
    assert right.gain > 1
    assert criterion.gains == [right.gain, wrong.gain]
    assert criterion.figures is wrong


def test_the_gap_is_what_refining_gains(problem: Problem, true_rotations: Tensor) -> None:
    model, rows = ImageModel.within(32, 16), torch.arange(60)
    gaps = []
    for angle in (0.0, 0.1, 0.3):
        torch.manual_seed(0)
        problem.poses.rotations = exponential_map(angle * torch.randn(200, 3)) @ true_rotations
        gaps.append(amortization_gap(problem, model, rows))
    assert 0 <= gaps[0] < gaps[1] < gaps[2] < 1
