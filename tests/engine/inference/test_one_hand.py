"""Both halves of a run come to the same hand, of which their low frequencies tell nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.halves import IndependentHalves
from napari_cryospin.engine.inference.hypotheses import Hypotheses
from napari_cryospin.engine.inference.interface import Place
from napari_cryospin.engine.inference.one_hand import inverted, of_other_hand, take_other_hand
from napari_cryospin.engine.judging.halves import HalfMaps, back_project
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import HartleyVolume
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.settings import DataSettings, ModelSettings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.stages import DirectStage
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem

if TYPE_CHECKING:
    from pathlib import Path

N, BOX = 400, 32
ROWS = torch.arange(N)
STAGE = DirectStage(
    volume_update="closed form",
    pose_update="gauss-newton",
    pose_steps=2,
    hypotheses=2,
    epochs=4,
    batch_size=400,
)


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    """Particles at their true poses, with the true map."""
    molecule = procedural_molecule(box=BOX, pixel_size=4.0)
    simulate(molecule, tmp_path, n_particles=N, pixel_size=4.0, snr=1.0, shift_std=0.0, seed=3)
    particles = prepare(read_table(tmp_path / "particles.star"), DataSettings(box=BOX))
    rotations = read_table(tmp_path / "truth.star").rotations
    assert rotations is not None
    poses = PoseTable.empty(N, 2, torch.device("cpu"))
    poses.rotations = torch.from_numpy(rotations).float()
    volume = HartleyVolume(BOX, signal_amplitude(particles, ROWS), torch.Generator().manual_seed(0))
    none = torch.zeros(N, dtype=torch.bool)
    found = Problem(particles, volume, poses, none, ModelSettings(shifts=False, halves=True), 0)
    volume.assign(torch.stack(HalfMaps.of(particles, poses, ~none).grids).mean(0))
    return found


def test_projections_are_the_same_in_the_other_hand(problem: Problem) -> None:
    model, grid = ImageModel.within(BOX, 12), problem.volume.grid().detach()
    before = model.project(grid, problem.poses.at(ROWS))
    half = IndependentHalves(problem, STAGE)._halves[0]
    hypotheses = half.hypotheses
    hypotheses.take(problem.poses, ROWS)
    take_other_hand(problem.poses, hypotheses, ROWS, 0)
    after = model.project(inverted(grid), problem.poses.at(ROWS))
    assert torch.allclose(before, after, atol=1e-4 * float(before.abs().max()))
    assert torch.allclose(hypotheses.rotations[:, 0], problem.poses.rotations)


def test_only_poses_of_its_class_are_turned(problem: Problem) -> None:
    poses = PoseTable.empty(4, 2, torch.device("cpu"), 2)
    poses.rotations = problem.poses.rotations[:4].clone()
    poses.candidates = problem.poses.rotations[:8].reshape(4, 2, 3, 3).clone()
    poses.classes = torch.tensor([0, 1, 1, 0]).to(poses.classes)
    poses.candidate_classes[:, 1] = 1
    before = poses.copied(), poses.candidates.clone()
    hypotheses = Hypotheses(4, 2, torch.device("cpu"), 2)
    take_other_hand(poses, hypotheses, torch.tensor([1, 3]), 1)
    moved = (poses.rotations != before[0].rotations).flatten(1).any(1)
    assert moved.tolist() == [False, True, False, False]
    moved = (poses.candidates != before[1]).flatten(2).any(2)
    assert moved.tolist() == [[False, False], [False, True], [False, False], [False, True]]


def test_the_mirror_image_is_told_from_a_map_and_from_noise(problem: Problem) -> None:
    model = ImageModel.within(BOX, BOX / 2)
    one, two = (
        back_project(problem.particles, problem.poses, ROWS[half::2], model) for half in (0, 1)
    )
    assert not of_other_hand(one, two, 7)
    assert of_other_hand(one, inverted(two), 7)
    noise = one.clone()
    draw = torch.Generator().manual_seed(0)
    noise[0] = one[1] * torch.randn(one[0].shape, generator=draw)
    assert not of_other_hand(two, noise, 7) and not of_other_hand(two, inverted(noise), 7)


def test_the_second_half_takes_the_hand_of_the_first(problem: Problem) -> None:
    truth = problem.poses.rotations.clone()
    inference = IndependentHalves(problem, STAGE)
    for half in inference._halves:
        half.begin()
        half.hypotheses.take(problem.poses, ROWS)
    for half in inference._halves:
        half.problem.volume.assign(problem.volume.grid().detach())
    second = inference._halves[1]
    grid = second.problem.volume.grid().detach()
    second.problem.volume.assign(inverted(grid))
    take_other_hand(problem.poses, second.hypotheses, second.problem.rows, 0)
    place = Place(1, 0.25)
    inference.set_place(place)
    for batch in inference.batches(ROWS, torch.Generator().manual_seed(0)):
        inference.train_batch(batch)
    inference.end_epoch(ROWS)
    errors = angular_distance(problem.poses.rotations, truth)
    assert float(errors.max()) < 20 and float(errors.median()) < 3
    maps = [half.problem.volume.grid().detach() for half in inference._halves]
    assert float(torch.corrcoef(torch.stack([each.flatten() for each in maps]))[0, 1]) > 0.9
