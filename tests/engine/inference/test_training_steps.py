from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance, exponential_map
from napari_cryospin.engine.inference.amortized import AmortizedInference
from napari_cryospin.engine.inference.direct import DirectInference
from napari_cryospin.engine.inference.interface import Place
from napari_cryospin.engine.inference.map_errors import errors_of_maps
from napari_cryospin.engine.judging.switching import SwitchCriterion
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map
from napari_cryospin.engine.refining.per_image_adam import PerImageAdam
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.stages import AmortizedStage
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings


def volume_like(particles: Particles) -> HartleyVolume:
    generator = torch.Generator().manual_seed(0)
    return HartleyVolume(
        particles.box, signal_amplitude(particles, torch.arange(particles.n)), generator
    )


def problem_of(
    particles: Particles, volume: HartleyVolume, poses: PoseTable, settings: Settings
) -> Problem:
    held_out = torch.zeros(particles.n, dtype=torch.bool)
    return Problem(particles, volume, poses, held_out, settings.model, settings.seed)


@pytest.mark.parametrize("shifts", [False, True])
def test_winner_takes_all(particles: Particles, settings: Settings, shifts: bool) -> None:
    torch.manual_seed(0)
    settings.model.shifts = shifts
    poses = PoseTable.empty(particles.n, 3, torch.device("cpu"))
    problem = problem_of(particles, volume_like(particles), poses, settings)
    inference = AmortizedInference(
        problem, settings.stages[0], SwitchCriterion.of(problem, settings.stages[0])
    )
    rows = torch.arange(40)
    inference.train_batch(rows)
    winners = poses.winner[rows]
    assert torch.equal(winners, poses.candidate_losses[rows].argmin(1))
    for row in rows:
        assert torch.equal(poses.rotations[row], poses.candidates[row, winners[row]])
    assert (poses.winner[40:] == -1).all()
    assert bool(poses.shifts[rows].any()) == shifts
    # a head that won nothing has no gradient
    last = inference.encoding.encoder.head_layers[-1]
    for head in range(3):
        assert bool(last.weight.grad[head].any()) == bool((winners == head).any())


def test_a_batch_may_hold_nobody_of_a_class(particles: Particles) -> None:
    volume, model = volume_like(particles), ImageModel.within(32, 6)
    rows, one = torch.arange(5), torch.eye(3).repeat(5, 1, 1)
    seen = particles.observed(rows, model)
    poses = Poses(one, torch.zeros(5, 2), torch.ones(5, dtype=torch.long))
    errors = errors_of_maps(model, (volume, volume, volume), poses, seen, "squared")
    alone = errors_of_maps(model, (volume,), replace(poses, classes=None), seen, "squared")
    assert torch.equal(errors, alone)


@pytest.mark.parametrize("update", ["adam", "closed form"])
def test_auto_encoding_tells_how_probable_classes_are(
    particles: Particles, settings: Settings, true_map: Tensor, update: str
) -> None:
    torch.manual_seed(0)
    settings.model.classes, settings.model.shifts = 3, False
    maps = [volume_like(particles) for _ in range(3)]
    for volume, grid in zip(maps, (0 * true_map, true_map, true_map), strict=True):
        volume.assign(grid_of_map(grid))
    poses = PoseTable.empty(particles.n, 3, torch.device("cpu"), 3)
    first, *others = maps
    problem = replace(problem_of(particles, first, poses, settings), others=tuple(others))
    stage = AmortizedStage(teacher="likelihood", volume_update=update, guesses=4)
    inference = AmortizedInference(problem, stage)
    inference.begin()
    inference.train_batch(torch.arange(40))
    weights = poses.class_weights[:40]
    assert torch.allclose(weights.sum(1), torch.ones(40))
    # it is the likeliest, and one that is the same is as likely
    assert torch.equal(weights.amax(1), weights.gather(1, poses.classes[:40, None])[:, 0])
    assert torch.allclose(weights[:, 1], weights[:, 2], atol=1e-3)
    assert len(set(weights[:, 1].tolist())) > 2
    # nothing is known of the others
    assert (poses.class_weights[40:] == 1 / 3).all()


@pytest.mark.parametrize("encoder", ["polar", "vgg"])
def test_auto_encoding_lowers_the_loss(
    particles: Particles, settings: Settings, encoder: str
) -> None:
    torch.manual_seed(0)
    settings.model.encoder = encoder
    poses = PoseTable.empty(particles.n, 0, torch.device("cpu"))
    problem = problem_of(particles, volume_like(particles), poses, settings)
    inference = AmortizedInference(
        problem, settings.stages[0], SwitchCriterion.of(problem, settings.stages[0])
    )
    inference.begin()
    batches = torch.arange(particles.n).split(50)
    losses = [inference.train_batch(rows) for _ in range(25) for rows in batches]
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])


@pytest.mark.parametrize("loss", ["squared", "absolute"])
def test_auto_decoding_refines_poses(
    particles: Particles, settings: Settings, true_map: Tensor, true_rotations: Tensor, loss: str
) -> None:
    torch.manual_seed(0)
    settings.model.loss = loss
    volume = volume_like(particles)
    volume.assign(grid_of_map(true_map))
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    off = exponential_map(0.1 * torch.randn(particles.n, 3))
    poses.rotations = off @ true_rotations
    inference = DirectInference(problem_of(particles, volume, poses, settings), settings.stages[1])

    def error() -> float:
        return float(np.median(angular_distance(poses.rotations.numpy(), true_rotations.numpy())))

    before = error()
    settings.stages[1].final_rate = 0.05
    for done in (0.0, 0.5, 0.7, 0.9):
        inference.set_place(Place(0, done))
        for rows in torch.arange(particles.n).split(50):
            inference.train_batch(rows)
    assert error() < 0.4 * before
    turned = poses.rotations @ poses.rotations.mT
    assert torch.allclose(turned, torch.eye(3).expand_as(turned), atol=1e-4)


def test_auto_decoding_refines_shifts(
    particles: Particles, settings: Settings, true_map: Tensor, true_rotations: Tensor
) -> None:
    torch.manual_seed(0)
    settings.model.shifts = True
    volume = volume_like(particles)
    volume.assign(grid_of_map(true_map))
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    poses.rotations = true_rotations.clone()
    poses.shifts = torch.randn(particles.n, 2)
    inference = DirectInference(problem_of(particles, volume, poses, settings), settings.stages[1])
    settings.stages[1].final_rate = 0.05
    for done in (0.0, 0.5, 0.7, 0.9):
        inference.set_place(Place(0, done))
        inference.train_batch(torch.arange(particles.n))
    # the particles lie in the middle: shifts of about 1.2 pixels have to go
    assert poses.shifts.norm(dim=1).median() < 0.5


def test_adam_of_each_image_is_its_own() -> None:
    gradients = torch.randn(6, 4, 2)
    adam = PerImageAdam(4, 2, 0.1, torch.device("cpu"))
    seen = torch.tensor([1, 3])
    steps = [adam.step(seen, gradient[seen]) for gradient in gradients]
    parameter = torch.zeros(2, 2, requires_grad=True)
    reference = torch.optim.Adam([parameter], lr=0.1, betas=(0.9, 0.9))
    for gradient in gradients:
        parameter.grad = gradient[seen]
        reference.step()
    assert torch.allclose(sum(steps), parameter.detach(), atol=1e-6)
    assert not adam.first[0].any()
    assert adam.steps.flatten().tolist() == [0, 6, 0, 6]
