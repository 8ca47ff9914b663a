"""What posteriors teach, and what is done with them when the stage ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.amortized import AmortizedInference
from napari_cryospin.engine.inference.interface import Place
from napari_cryospin.engine.inference.posterior_teacher import PosteriorTeacher
from napari_cryospin.engine.models.volume import HartleyVolume, map_of_grid
from napari_cryospin.engine.refining.candidate_modes import APART
from napari_cryospin.engine.run.agreement import agreement
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.run.starts import Starts
from napari_cryospin.engine.stages import AmortizedStage
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from napari_cryospin.engine.sums.quadrature import asymmetric_unit, cell_rotations

if TYPE_CHECKING:
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings

FINER = 8


@pytest.fixture
def stage() -> AmortizedStage:
    return AmortizedStage(teacher="posterior", batch_size=60, lessons=2)


@pytest.fixture
def inference(
    particles: Particles, settings: Settings, stage: AmortizedStage
) -> AmortizedInference:
    """Auto-encoding of the small stack, one epoch after its beginning."""
    settings.model.shifts = True
    draw = torch.Generator().manual_seed(0)
    amplitude = signal_amplitude(particles, torch.arange(particles.n))
    held_out = torch.arange(particles.n) % 4 == 0
    problem = Problem(
        particles,
        HartleyVolume(particles.box, amplitude, draw),
        PoseTable.empty(particles.n, 0, torch.device("cpu")),
        held_out,
        settings.model,
        0,
    )
    return after_an_epoch(problem, stage, draw)


def after_an_epoch(
    problem: Problem, stage: AmortizedStage, draw: torch.Generator
) -> AmortizedInference:
    """Return auto-encoding after its first epoch."""
    inference = AmortizedInference(problem, stage)
    inference.begin()
    rows = torch.arange(problem.particles.n)
    list(inference.begin_epoch(Place(0, 0.0), rows))
    for batch in inference.batches(rows, draw):
        inference.train_batch(batch)
    inference.end_epoch(rows)
    return inference


def teacher_of(inference: AmortizedInference) -> PosteriorTeacher:
    assert isinstance(inference.teacher, PosteriorTeacher)
    return inference.teacher


def test_likely_poses_are_those_of_the_sums(inference: AmortizedInference) -> None:
    memory = teacher_of(inference)._sums.memory
    likely = inference.likely_poses()
    assert torch.equal(likely[:, 0], memory.heaviest(torch.arange(len(likely))))
    there = likely[:, :, 0, 0].isfinite()
    assert there[:, 0].all() and there[:, 1].any()
    # no two of a particle are of one mode
    both = there[:, :, None] & there[:, None] & ~torch.eye(likely.shape[1], dtype=torch.bool)
    apart = angular_distance(likely[:, :, None], likely[:, None])
    assert (apart[both] >= APART - 0.01).all()


def test_starts_agree_by_the_poses_of_the_sums(inference: AmortizedInference) -> None:
    problem, starts = inference.problem, Starts()
    gain = torch.arange(10.0)
    judged = type("Judged", (), {"rows": torch.arange(10), "gain": gain, "mean_gain": 1.0})()
    for _ in range(2):
        starts.add(problem.maps, problem.poses, inference, judged)
    # the heads' proposals are of no account
    problem.poses.candidates[:] = torch.eye(3)
    assert agreement(starts.ended)[0] == 1.0
    memory = teacher_of(inference)._sums.memory
    order = torch.randperm(len(memory.cells), generator=torch.Generator().manual_seed(1))
    memory.cells = memory.cells[order]
    starts.add(problem.maps, problem.poses, inference, judged)
    shared = agreement(starts.ended[1:])[0]
    assert shared is not None and shared < 0.7


@pytest.mark.parametrize(
    ("share", "over", "finer"), [(0.0, True, False), (0.5, True, True), (0.5, False, False)]
)
def test_much_doubt_is_taken_to_a_finer_grid(
    inference: AmortizedInference, share: float, over: bool, finer: bool
) -> None:
    teacher = teacher_of(inference)
    memory, march = teacher._sums.memory, teacher._sums.march
    # who switches before the march has ended wants no more sums
    march.place, march.over = len(march.radii) - 1, over
    memory.weights[:] = 0
    memory.weights[:, 0] = 1 - share
    # the poses of the others lie all over
    memory.cells[:, 1:] = torch.arange(1, memory.cells.shape[1], dtype=torch.int32)
    memory.weights[:, 1:] = share / (memory.cells.shape[1] - 1)
    before = map_of_grid(inference.volume.grid()).detach().clone()
    rows = torch.arange(inference.particles.n)
    steps = list(inference.end_stage(rows))
    assert (int(teacher._sums.memory.nside.max()) == FINER) == finer
    assert all(0 <= done <= total for done, total in steps)
    # summed over or not, the map is brought to the middle of its box
    after = map_of_grid(inference.volume.grid()).detach()
    assert not torch.equal(before, after)
    assert inference.poses.candidate_losses.isfinite().all()


def test_the_class_of_a_particle_is_its_most_probable_one(
    particles: Particles, settings: Settings, stage: AmortizedStage
) -> None:
    settings.model.classes = 2
    draw, amplitude = (
        torch.Generator().manual_seed(0),
        signal_amplitude(particles, torch.arange(200)),
    )
    maps = [HartleyVolume(particles.box, amplitude, draw) for _ in range(2)]
    problem = Problem(
        particles,
        maps[0],
        PoseTable.empty(particles.n, 0, torch.device("cpu"), 2),
        torch.arange(particles.n) % 4 == 0,
        settings.model,
        0,
        others=(maps[1],),
    )
    inference = after_an_epoch(problem, stage, draw)
    poses = problem.poses

    def fit() -> bool:
        return torch.equal(poses.class_weights.argmax(1), poses.classes)

    assert fit() and 0 < poses.classes.sum() < particles.n
    # the encoder has another mind
    inference.encoding.propose(torch.arange(particles.n), inference.teacher.measure)
    assert fit()


def test_a_stage_may_end_before_anything_is_known(inference: AmortizedInference) -> None:
    teacher_of(inference)._sums.memory.nside[:] = 0
    steps = list(inference.end_stage(torch.arange(inference.particles.n)))
    # the encoder is asked all the same
    assert steps[-1] == (inference.particles.n, inference.particles.n)
    assert inference.poses.candidate_losses.isfinite().all()
    assert inference.likely_poses().isnan().all()


def test_the_map_is_centred_with_the_particles(inference: AmortizedInference) -> None:
    sums, rows = teacher_of(inference)._sums, torch.arange(inference.particles.n)
    poses = inference.poses
    best = sums.memory.heaviest(rows)
    offset = torch.tensor([1.5, -1.0, 0.5])
    poses.shifts[:] = (best @ offset)[:, :2]
    before = inference.volume.grid().detach().clone()
    sums.centre(rows)
    assert poses.shifts.abs().max() < 1e-3
    moved = map_of_grid(inference.volume.grid()).detach()
    # by whole voxels it is the map itself, moved
    poses.shifts[:] = (best @ torch.tensor([-1.5, 1.0, -0.5]))[:, :2]
    sums.centre(rows)
    assert torch.allclose(inference.volume.grid(), before, atol=1e-3)
    assert not torch.allclose(moved, map_of_grid(before), atol=1e-3)


def test_a_symmetric_structure_is_found_without_its_symmetry(
    particles: Particles, settings: Settings, stage: AmortizedStage
) -> None:
    """And turned to its axes at the end of the stage, where poses of one unit are found."""
    settings.model.symmetry = "C2"
    draw = torch.Generator().manual_seed(0)
    amplitude = signal_amplitude(particles, torch.arange(particles.n))
    poses = PoseTable.empty(particles.n, 0, torch.device("cpu"))
    held_out = torch.arange(particles.n) % 4 == 0
    volume = HartleyVolume(particles.box, amplitude, draw)
    problem = Problem(particles, volume, poses, held_out, settings.model, 0)
    inference, rows = after_an_epoch(problem, stage, draw), torch.arange(particles.n)

    def unlike() -> float:
        grid = volume.grid().detach()
        return float((grid - grid.flip(-1, -2)).norm() / grid.norm())

    before = unlike()
    list(inference.end_stage(rows))
    # a map of one epoch is nearly round, and not quite
    assert unlike() < 1e-3 < 0.02 < before
    memory = teacher_of(inference)._sums.memory
    level = int(memory.nside.max())
    unit = asymmetric_unit(cell_rotations(level), problem.group)
    known = memory.nside == level
    assert torch.isin(memory.cells[known, 0].long(), unit).all()
