"""Hypotheses in auto-decoding."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.normalise import soft_mask
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance, exponential_map
from napari_cryospin.engine.inference.direct import DirectInference
from napari_cryospin.engine.inference.interface import Place
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.stages import DirectStage
from particle_images import with_images

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.state.problem import Problem


def test_the_best_hypothesis_wins(problem: Problem, true_rotations: Tensor) -> None:
    """The right pose is the second candidate of half of the particles, and a little off."""
    torch.manual_seed(0)
    near = exponential_map(0.08 * torch.randn(200, 3)) @ true_rotations
    wrong = true_rotations.flip(0)
    second = (torch.arange(200) % 2 == 0)[:, None, None]
    poses = problem.poses
    poses.candidates = torch.stack(
        (torch.where(second, wrong, near), torch.where(second, near, wrong), wrong), 1
    )
    poses.candidate_losses = torch.tensor([1.0, 1.1, torch.nan]).expand(200, 3).clone()
    stage = DirectStage(hypotheses=3, pose_steps=10, learning_rate_pose=0.02)
    inference = DirectInference(problem, stage)
    # the third candidate has no loss: it is no hypothesis
    assert inference.hypotheses.active.sum(1).tolist() == [2] * 200
    inference.set_place(Place(0, 0.0))
    inference.train_batch(torch.arange(200))
    errors = angular_distance(poses.rotations.numpy(), true_rotations.numpy())
    assert (errors < 10).mean() > 0.95
    assert np.median(errors) < 4
    won = poses.winner.numpy() == np.where(second.flatten().numpy(), 1, 0)
    assert won.mean() > 0.95
    # those that are far behind are given up
    assert inference.hypotheses.active.sum(1).float().mean() < 1.5
    assert (inference.hypotheses.active.gather(1, poses.winner[:, None])).all()


def test_heads_become_hypotheses_in_the_order_of_their_losses(problem: Problem) -> None:
    poses = problem.poses
    poses.candidate_losses = torch.tensor([3.0, 1.0, 2.0]).expand(200, 3).clone()
    apart = exponential_map(torch.tensor([[0.0, 0, 0], [0, 1.5, 0], [0, 0, 2]]))
    poses.candidates = apart @ exponential_map(torch.randn(200, 1, 3))
    wanted = poses.candidates[:, [1, 2]].clone()
    inference = DirectInference(problem, DirectStage(hypotheses=2))
    assert torch.equal(inference.hypotheses.rotations, wanted)
    # more than there are: all of them
    poses.candidates, poses.candidate_losses = wanted, torch.ones(200, 2)
    assert DirectInference(problem, DirectStage(hypotheses=9)).hypotheses.active.shape == (200, 2)


def test_neighbours_are_one_hypothesis(problem: Problem) -> None:
    """As those of an encoder, which says nearly the same pose several times."""
    poses = problem.poses
    apart = exponential_map(torch.tensor([[0.0, 0, 0], [0, 0.2, 0], [0, 0, 2]]))
    poses.candidates = apart @ exponential_map(torch.randn(200, 1, 3))
    poses.candidate_losses = torch.tensor([3.0, 1.0, 2.0]).expand(200, 3).clone()
    inference = DirectInference(problem, DirectStage(hypotheses=3))
    assert inference.hypotheses.active.tolist() == [[True, True, False]] * 200
    assert torch.equal(inference.hypotheses.rotations[:, :2], poses.candidates[:, [1, 2]])


def test_a_particle_without_candidates_keeps_its_pose(
    problem: Problem, true_rotations: Tensor
) -> None:
    """Such as one that was dropped while the others were searched."""
    poses, searched = problem.poses, torch.arange(problem.particles.n) % 2 == 0
    poses.rotations = true_rotations.clone()
    poses.candidates[searched] = true_rotations[searched, None].flip(0)
    poses.candidate_losses[searched] = torch.arange(3.0)
    inference = DirectInference(problem, DirectStage(hypotheses=3))
    assert torch.equal(inference.hypotheses.rotations[~searched, 0], true_rotations[~searched])
    assert torch.equal(
        inference.hypotheses.rotations[searched, 0], true_rotations[searched].flip(0)
    )
    assert not inference.hypotheses.active[~searched, 1:].any()


def test_a_search_that_is_stopped_leaves_the_poses(
    problem: Problem, true_rotations: Tensor
) -> None:
    before = problem.poses.rotations.clone()
    inference = DirectInference(problem, DirectStage(hypotheses=2, searches=1))
    search = inference.begin_epoch(Place(0, 0.0), torch.arange(problem.particles.n))
    # a look for outliers, and the search
    for done in (0, 0, problem.particles.n):
        assert next(search) == (done, problem.particles.n)
        assert torch.equal(problem.poses.rotations, before)
        assert (problem.poses.membership == 1).all()
    list(search)
    assert (problem.poses.membership < 1).any()
    error = angular_distance(problem.poses.rotations.numpy(), true_rotations.numpy())
    assert np.median(error) < 10
    # a run that goes on from here does not search again
    assert not list(inference.begin_epoch(Place(0, 0.0), torch.arange(problem.particles.n)))


@pytest.mark.usefixtures("small_searches")
def test_a_search_of_those_who_were_dropped_since_is_over_at_once(problem: Problem) -> None:
    stage = DirectStage(
        hypotheses=2,
        searches=2,
        until="criterion",
        searched="doubtful",
        volume_update="closed form",
    )
    inference = DirectInference(problem, stage)
    inference.begin()
    rows = torch.arange(problem.particles.n)
    list(inference.begin_epoch(Place(0, 0.0), rows))
    inference.train_batch(rows)
    # all are of one mode but these
    doubtful, apart = rows[:20], exponential_map(torch.tensor([[0.0, 0, 0], [0, 0, 2]]))
    problem.poses.candidates[:] = problem.poses.candidates[:, :1]
    problem.poses.candidate_losses[:, 0], problem.poses.candidate_losses[:, 1] = 1.0, torch.nan
    problem.poses.candidates[doubtful] = apart
    problem.poses.candidate_losses[doubtful] = 1.0
    inference._before = problem.poses.copied()
    inference.end_epoch(rows)
    assert inference.searches.chosen(rows).tolist() == doubtful.tolist()
    before = problem.poses.rotations.clone()
    for place in range(2):
        assert inference.searches.due(1) == (place == 0)
        list(inference.begin_epoch(Place(1, 0.1), rows[20:]))
        assert torch.equal(problem.poses.rotations, before)


def test_rates_fall_where_epochs_run_out(problem: Problem) -> None:
    stage = DirectStage(until="criterion", epochs=8, final_rate=0.1)
    inference = DirectInference(problem, stage)
    rates = []
    for epoch in range(8):
        inference.set_place(Place(epoch, epoch / 8))
        rates.append(inference.pose_optimizer.learning_rate / stage.learning_rate_pose)
        inference.end_epoch(torch.empty(0, dtype=torch.long))
    assert rates[:2] == [1.0, 1.0]
    assert all(later < earlier for earlier, later in pairwise(rates[1:]))
    assert rates[-1] == pytest.approx(0.1)


def test_a_map_owes_to_each_of_its_particles_what_is_expected(problem: Problem) -> None:
    """A map of noise, and the errors of what it was made of, against those of other noise."""
    torch.manual_seed(0)
    n, box = problem.particles.n, problem.particles.box
    rows, part = torch.arange(n), ~problem.held_out

    def aligned(inference: DirectInference) -> Alignment:
        images = soft_mask(box, box) * torch.randn(n, box, box)
        inference.particles = with_images(problem.particles, images)
        return Alignment(inference.model, inference._map(), inference.observed(rows))

    expected, owed = [], []
    for _ in range(8):
        poses = Poses(exponential_map(3 * torch.randn(n, 3)), torch.randn(n, 2))
        problem.poses.set_at(rows, poses)
        problem.volume.assign(torch.zeros_like(problem.volume.grid()))
        stage = DirectStage(hypotheses=2, volume_update="closed form")
        inference = DirectInference(problem, stage)
        inference.set_place(Place(0, 0.0))
        # so few images tell of few frequencies
        inference._low_pass.model = ImageModel.within(box, 5)
        made_of = aligned(inference)
        inference._collect(rows, made_of, made_of.images)
        inference.end_epoch(rows)
        inference.hypotheses.rotations, inference.hypotheses.origins = (
            torch.stack((one, one.flip(0)), 1) for one in (poses.rotations, poses.shifts)
        )
        inference.hypotheses.active = torch.ones(n, 2, dtype=torch.bool)
        problem.poses.winner[:] = 0
        problem.poses.winner[1] = -1
        made_of, other = replace(made_of, slicer=inference._map()), aligned(inference)
        penalty = inference._optimism(made_of, rows)
        assert not penalty[:, 1].any() and not penalty[~part].any() and not penalty[1].any()
        assert (penalty[part, 0] > 0).sum() == part.sum() - 1
        expected.append(float(penalty.sum() / (part.sum() - 1)))
        owed.append(float((other.errors(poses) - made_of.errors(poses))[part].mean()))
    # the noise of neighbouring frequencies is alike under a mask, which is left out
    assert 0.6 < np.mean(expected) / np.mean(owed) < 1.1
