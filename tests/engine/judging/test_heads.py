"""The heads as a posterior: what they cover, and how right their weights are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import (
    angular_distance,
    exponential_map,
    random_rotations,
)
from napari_cryospin.engine.judging.evidence import judge_with_posteriors
from napari_cryospin.engine.judging.heads import (
    calibration_error,
    head_figures,
    reliability,
    truth_in_modes,
)
from napari_cryospin.engine.refining.candidate_modes import candidate_modes, random_coverage
from napari_cryospin.engine.switch_figures import WeightBin

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.state.problem import Problem

K = 12


def give_candidates(problem: Problem, rotations: Tensor) -> None:
    """Make poses (n, K, 3, 3) the candidates of all particles."""
    problem.poses.with_candidates(rotations.shape[1])
    problem.poses.candidates = rotations


def scattered(true_rotations: Tensor, degrees: float, draw: torch.Generator) -> Tensor:
    """Return K poses beside each true one, (n, K, 3, 3)."""
    turns = math.radians(degrees) * torch.randn(len(true_rotations), K, 3, generator=draw)
    return exponential_map(turns) @ true_rotations[:, None]


def judged(problem: Problem) -> object:
    held = problem.held_out.nonzero().flatten()
    learning = (~problem.held_out).nonzero().flatten()
    return judge_with_posteriors(problem, learning, held)[1]


def test_candidates_near_the_true_poses_cover_the_posterior(
    problem: Problem, true_rotations: Tensor
) -> None:
    draw = torch.Generator().manual_seed(0)
    exact = judged(problem)
    give_candidates(problem, scattered(true_rotations, 4.0, draw))
    near = head_figures(problem, exact)
    assert near.coverage > 0.9
    # all of it is one mode, which has all of the weight
    assert near.calibration_error < 0.05
    n = len(true_rotations)
    anywhere = random_rotations(n * K, np.random.default_rng(1)).reshape(n, K, 3, 3)
    give_candidates(problem, torch.from_numpy(anywhere).float())
    by_chance = head_figures(problem, exact)
    assert by_chance.coverage == pytest.approx(by_chance.random_coverage, abs=0.06)
    assert by_chance.random_coverage == near.random_coverage


def test_weights_tell_modes_apart_that_their_candidates_hide(
    problem: Problem, true_rotations: Tensor
) -> None:
    """The candidate nearest to a wrong mode may fit better than any of the right one."""
    draw = torch.Generator().manual_seed(2)
    exact = judged(problem)
    held = problem.held_out.nonzero().flatten()
    true = true_rotations[held]
    wrong = exponential_map(torch.tensor([0.0, math.pi, 0.0])) @ true
    candidates = torch.cat((scattered(wrong, 3.0, draw), scattered(true, 3.0, draw)), 1)
    found = candidate_modes(
        exact.model, exact.slicer, exact.images, Poses.centred(candidates), shifted=False
    )
    assert torch.allclose(found.weights.sum(1), torch.ones(len(held)), atol=1e-5)
    right = truth_in_modes(found, true)
    assert float((right * found.weights).sum(1).mean()) > 0.9
    # refined, they lie nearer to the true pose than where they began
    best = found.weights.argmax(1)
    rows = torch.arange(len(held))
    refined = angular_distance(found.poses.rotations[rows, best], true)
    before = angular_distance(candidates[rows, found.places[rows, best]], true)
    assert refined.median() < before.median()


def test_modes_that_are_found_twice_count_once(problem: Problem, true_rotations: Tensor) -> None:
    exact = judged(problem)
    held = problem.held_out.nonzero().flatten()
    true = true_rotations[held]
    # one candidate on either side of the mode, further than 20° from each other
    beside = torch.tensor([[0.0, 0.0, 0.19], [0.0, 0.0, -0.19]])
    candidates = exponential_map(beside) @ true[:, None]
    found = candidate_modes(
        exact.model, exact.slicer, exact.images, Poses.centred(candidates), shifted=False
    )
    assert (found.places[:, :2] >= 0).all()
    assert (found.places[:, 2:] == -1).all() and (found.weights[:, 2:] == 0).all()
    assert (found.there.sum(1) == 1).float().mean() > 0.8


def test_random_poses_cover_what_caps_of_all_turns_do() -> None:
    draw = np.random.default_rng(3)
    poses, others = random_rotations(400, draw), random_rotations(64, draw)
    near = angular_distance(poses[:, None], others[None]).min(1) <= 40
    assert near.mean() == pytest.approx(random_coverage(64, 40.0), abs=0.05)
    assert random_coverage(0) == 0


def test_the_diagram_and_the_error_of_weights() -> None:
    weights = torch.tensor([[0.95, 0.05, 0.0], [0.65, 0.35, 0.0]])
    right = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    there = torch.tensor([[True, True, True], [True, True, False]])
    bins = reliability(weights, right, there)
    assert [one.number for one in bins] == [1, 1, 1, 1]
    assert [one.right for one in bins] == [0, 1, 0, 1]
    assert calibration_error(bins) == pytest.approx((0.05 + 0.65 + 0.65 + 0.05) / 4)
    assert math.isnan(calibration_error(()))
    assert calibration_error((WeightBin(0.5, 0.5, 10),)) == 0
