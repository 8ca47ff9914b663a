from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.judging.particle_fit import ParticleFit
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum, shells_of
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from particle_images import all_images, with_images

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings

NOISE = NoiseSpectrum(torch.linspace(1.5, 0.8, 16))


@pytest.fixture
def problem(
    particles: Particles, settings: Settings, true_map: Tensor, true_rotations: Tensor
) -> Problem:
    """The small stack at its true poses, with the true map."""
    volume = HartleyVolume(
        32, signal_amplitude(particles, torch.arange(particles.n)), torch.Generator().manual_seed(0)
    )
    volume.assign(grid_of_map(true_map))
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    poses.rotations, poses.losses = true_rotations.clone(), torch.ones(particles.n)
    return Problem(
        particles,
        volume,
        poses,
        torch.zeros(particles.n, dtype=torch.bool),
        settings.model,
        settings.seed,
    )


def test_the_log_likelihood_is_what_the_map_gains(problem: Problem) -> None:
    problem.poses.scales = torch.linspace(0.5, 2, problem.particles.n)
    found = ParticleFit.measured(problem, 9, NOISE)
    model = ImageModel.within(32, 9)
    variance = NOISE.variance[shells_of(model)]
    images = model.coefficients(all_images(problem.particles))
    ctf = problem.particles.ctf(None, model.frequencies) * problem.poses.scales[:, None]
    projected = ctf * model.project(problem.volume.grid(), Poses.centred(problem.poses.rotations))
    without = torch.distributions.Normal(0, variance.sqrt()).log_prob(images).sum(1)
    given = torch.distributions.Normal(projected, variance.sqrt()).log_prob(images).sum(1)
    assert torch.allclose(found.log_likelihood, given - without, atol=0.05, rtol=1e-3)


def test_a_right_map_at_right_poses_explains_about_all(problem: Problem) -> None:
    found = ParticleFit.measured(problem, 15, NOISE)
    assert found.explained.nanmedian() == pytest.approx(1, abs=0.15)
    problem.poses.rotations = problem.poses.rotations.flip(0)
    wrong = ParticleFit.measured(problem, 15, NOISE)
    assert wrong.explained.nanmedian() < found.explained.nanmedian() - 0.3
    assert wrong.log_likelihood.median() < found.log_likelihood.median()


def test_shifts_count(problem: Problem) -> None:
    still = ParticleFit.measured(problem, 9, NOISE)
    problem.poses.shifts = torch.full((problem.particles.n, 2), 3.0)
    moved = ParticleFit.measured(problem, 9, NOISE)
    assert moved.log_likelihood.median() < still.log_likelihood.median()


def test_what_cannot_be_known_is_no_number(problem: Problem) -> None:
    particles, poses = problem.particles, problem.poses
    images = all_images(particles).clone()
    # an image of noise alone, as the mask leaves it; and a particle that has no pose yet
    images[3] *= (particles.mask_power * 32**2) ** 0.5 / images[3].norm()
    poses.losses[5] = torch.nan
    found = ParticleFit.measured(
        replace(problem, particles=with_images(particles, images)), 9, NOISE
    )
    assert found.explained[3].isnan() and found.log_likelihood[3].isfinite()
    assert found.explained[5].isnan() and found.log_likelihood[5].isnan()
    assert found.explained.isfinite().float().mean() > 0.9


def test_blocks_of_particles_do_not_matter(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ParticleFit.measured(problem, 9, NOISE)
    monkeypatch.setattr("napari_cryospin.engine.judging.particle_fit._BLOCK", 7 * 32**2)
    parts = ParticleFit.measured(problem, 9, NOISE)
    assert torch.allclose(parts.log_likelihood, whole.log_likelihood, atol=1e-2)
    assert torch.allclose(parts.explained, whole.explained, atol=1e-4)
