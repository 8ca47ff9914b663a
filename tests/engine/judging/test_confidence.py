"""How sure a map is of poses: right ones, wrong ones, and those of which it has two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.judging.confidence import pose_confidence
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from napari_cryospin.engine.sums.search import search_modes
from particle_images import all_images, with_images

if TYPE_CHECKING:
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings


def problem_with(
    volume: Tensor, particles: Particles, settings: Settings, poses: Tensor
) -> Problem:
    grid = HartleyVolume(
        32, signal_amplitude(particles, torch.arange(particles.n)), torch.Generator().manual_seed(0)
    )
    grid.assign(grid_of_map(volume))
    table = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    table.rotations = poses.clone()
    held_out = torch.arange(particles.n) % 2 == 0
    return Problem(particles, grid, table, held_out, settings.model, 0)


def confidence(problem: Problem) -> Tensor:
    held = problem.held_out
    return pose_confidence(problem, (~held).nonzero().flatten(), held.nonzero().flatten())


def test_right_poses_are_sure_and_wrong_ones_are_not(
    particles: Particles, settings: Settings, true_map: Tensor, true_rotations: Tensor
) -> None:
    sure = confidence(problem_with(true_map, particles, settings, true_rotations))
    assert sure.shape == (100,)
    assert sure.mean() > 0.95
    wrong = confidence(problem_with(true_map, particles, settings, true_rotations.flip(0)))
    assert wrong.mean() < 0.15


@pytest.mark.parametrize("which", [0, 1])
def test_a_twofold_map_is_sure_of_half(
    particles: Particles,
    settings: Settings,
    true_map: Tensor,
    true_rotations: Tensor,
    which: int,
) -> None:
    """Either of two poses that project alike is right with a probability of one half."""
    turned = true_map.flip(1, 2).roll((1, 1), (1, 2))
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    mate = true_rotations @ half_turn if which else true_rotations
    problem = problem_with((true_map + turned) / 2, particles, settings, mate)
    found = confidence(problem)
    # where the two views are nearly one, they are one mode
    apart = angular_distance(true_rotations.numpy(), (true_rotations @ half_turn).numpy())
    assert apart.min() > 179
    assert found.median() == pytest.approx(0.5, abs=0.05)


def test_the_mean_is_the_share_of_right_poses(
    particles: Particles, settings: Settings, true_map: Tensor, true_rotations: Tensor
) -> None:
    """So noisy that a search of all poses takes many particles to the wrong one."""
    noise = torch.randn(all_images(particles).shape, generator=torch.Generator().manual_seed(0))
    noisy = with_images(particles, all_images(particles) + 6 * noise)
    problem = problem_with(true_map, noisy, settings, true_rotations)
    rows = torch.arange(particles.n)
    list(search_modes(problem, rows, 1, noisy.noise(rows)))
    found = confidence(problem)
    errors = angular_distance(problem.poses.rotations.numpy(), true_rotations.numpy())
    right = (errors < 30)[problem.held_out.numpy()]
    assert 0.5 < right.mean() < 0.9
    assert found.mean() == pytest.approx(right.mean(), abs=0.1)
    assert found[right].mean() > found[~right].mean() + 0.1
