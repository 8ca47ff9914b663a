"""Winner takes all in closed form: what is learned, of whom, and that it goes on from its state."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.evaluation.alignment import align_rotations
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.asking import Measure, errors_of
from napari_cryospin.engine.inference.guesses import best_of, drawn
from napari_cryospin.engine.inference.interface import Place
from napari_cryospin.engine.inference.winners_teacher import WinnersTeacher
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.run.epoch import train_epoch
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import AmortizedStage

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles


@pytest.fixture
def winning(settings: Settings) -> Settings:
    """Auto-encoding by likelihood alone, for a few hundred particles."""
    settings.stages = Settings.from_preset("cryospin").stages[:1]
    settings.model.encoder, settings.model.heads, settings.model.turns = "polar", 4, 8
    settings.model.encoder_width, settings.model.shifts = 64, False
    settings.stages[0].batch_size, settings.stages[0].guesses = 100, 512
    settings.starts = 1
    return settings


def teacher_of(training: Training) -> WinnersTeacher:
    teacher = training.inference.teacher
    assert isinstance(teacher, WinnersTeacher)
    return teacher


def test_best_guess_is_that_of_the_errors(particles: Particles) -> None:
    torch.manual_seed(0)
    model = ImageModel.within(particles.box, 6)
    grid = torch.randn(3 * (particles.box + 1,))
    noise = NoiseSpectrum(torch.linspace(0.5, 2, particles.box // 2))
    measure = Measure(model, slicer(grid), noise)
    seen = particles.observed(torch.arange(20), model)
    poses = drawn(30, 7, 0, 1)
    best, errors = best_of(measure, seen, poses)
    every = errors_of(measure, seen, Poses.centred(poses.expand(20, 30, 3, 3)))
    assert torch.equal(best.rotations, poses[every.argmin(1)])
    assert torch.allclose(errors, every.amin(1), rtol=1e-4)


def test_guesses_are_uniform_and_of_their_draw() -> None:
    poses = drawn(4000, 0, 0, 3)
    assert torch.equal(poses, drawn(4000, 0, 0, 3))
    assert not torch.equal(poses, drawn(4000, 0, 0, 4))
    # the mean angle between uniform rotations is π/2 + 2/π
    apart = angular_distance(poses[:2000], poses[2000:])
    assert float(apart.mean()) == pytest.approx(126.5, abs=2)


def test_only_the_nearest_head_learns(
    particles: Particles, winning: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(particles, winning)
    encoding, rows = training.inference.encoding, torch.arange(60)
    looked = encoding.look(rows, particles.images(rows))
    encoding.encoder.train()
    wanted = Poses.centred(torch.eye(3).repeat(60, 1, 1))
    # one head says nearly what is wanted, whatever it sees
    last = encoding.encoder.network[-1]
    with torch.no_grad():
        last.weight[6:12] = 0
        last.bias[6:12] = torch.tensor([1.0, 0.02, 0, 0, 0, 1.0])
    monkeypatch.setattr(encoding.encoder, "turns", 1)
    encoding.learn(rows, looked, wanted, torch.Generator().manual_seed(0))
    touched = [bool(last.weight.grad[6 * head : 6 * head + 6].any()) for head in range(4)]
    assert touched == [False, True, False, False]


def test_it_finds_the_structure_by_its_march(
    particles: Particles, winning: Settings, true_rotations: Tensor
) -> None:
    training = Training(particles, winning)
    # the teacher says when it is over, and not the criterion of the switch
    training.inference.criterion = None
    teacher, radii = teacher_of(training), []
    assert winning.stages[0].until == "criterion"
    while not training.stage_due:
        train_epoch(training)
        radii.append(teacher.radius)
    assert teacher.over and training.clock.epoch < winning.stages[0].epochs
    assert radii == sorted(radii) and radii[0] < 4 and radii[-1] == 10
    found = align_rotations(training.poses.rotations.double().numpy(), true_rotations.numpy())
    # of 200 particles; poses at random are 126° off
    assert np.median(found.errors) < 10


@pytest.mark.parametrize(("teacher", "over"), [("likelihood", True), ("posterior", False)])
def test_it_is_over_before_where_the_heads_know_the_modes(
    particles: Particles, winning: Settings, teacher: str, over: bool
) -> None:
    winning.stages[0].teacher = teacher
    inference = Training(particles, winning).inference
    inference.criterion = SimpleNamespace(heads_know=False, over=True)
    assert not inference.over
    inference.criterion.heads_know = True
    assert inference.over is over


def test_the_low_pass_filter_bounds_the_march(particles: Particles, winning: Settings) -> None:
    extent = particles.box * particles.pixel_size
    stage = winning.stages[0]
    stage.low_pass_start, stage.low_pass_end = extent / 5, extent / 5
    assert teacher_of(Training(particles, winning)).radius == pytest.approx(5, abs=0.1)


def test_a_run_of_few_epochs_slows_down_as_well(particles: Particles, winning: Settings) -> None:
    winning.stages[0].epochs = 8
    training = Training(particles, winning)
    teacher, group = teacher_of(training), training.inference.encoding.optimizer.param_groups[0]
    rates = []
    for epoch in range(8):
        list(teacher.begin_epoch(Place(epoch, epoch / 8), torch.arange(particles.n)))
        rates.append(group["lr"])
    assert rates[0] == rates[1] == winning.stages[0].learning_rate_encoder
    assert rates[2:] == sorted(rates[2:], reverse=True) and rates[-1] < 0.2 * rates[0]


def test_it_goes_on_from_its_state(particles: Particles, winning: Settings) -> None:
    one = Training(particles, winning)
    train_epoch(one)
    other = Training(particles, winning)
    other.load_state(copy.deepcopy(one.state()))
    for training in (one, other):
        train_epoch(training)
    assert torch.equal(one.poses.rotations, other.poses.rotations)
    assert torch.equal(one.volume.grid(), other.volume.grid())
    for a, b in zip(
        one.inference.encoding.encoder.parameters(),
        other.inference.encoding.encoder.parameters(),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_held_out_particles_make_no_map(particles: Particles, winning: Settings) -> None:
    training = Training(particles, winning)
    seen: list[int] = []
    train_epoch(training, lambda rows: seen.extend(rows.tolist()))
    assert training.held_out.any()
    assert not training.held_out[seen].any()
    # yet the encoder is asked about them
    assert (training.poses.winner >= 0).all()


def test_the_paper_s_way_stays(particles: Particles, winning: Settings) -> None:
    winning.stages = [AmortizedStage(epochs=1)]
    assert not isinstance(Training(particles, winning).inference.teacher, WinnersTeacher)
    assert winning.stages[0].idle == {"guesses", "passes", "lessons", "particles"}


def test_shares_are_those_of_heads(particles: Particles, winning: Settings) -> None:
    training = Training(particles, winning)
    train_epoch(training)
    share = training.poses.head_share(training.used)
    assert len(share) == 4 and sum(share) == pytest.approx(1)
    heads = training.poses.winner // 8
    assert share == pytest.approx([float((heads == head).float().mean()) for head in range(4)])
