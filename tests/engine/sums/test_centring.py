"""Particles anywhere in the box: centred by the average, looked for once more by the map."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.geometry.slices import central_slices
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map
from napari_cryospin.engine.settings import ModelSettings
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from napari_cryospin.engine.sums.centring import (
    evidence_of_averages,
    first_origins,
    pixel_shifts,
    shift_log_prior,
    shift_spread,
    spread_of,
)
from napari_cryospin.engine.sums.quadrature import Quadrature
from napari_cryospin.engine.sums.wide_look import WideLook
from particle_images import all_images, with_images

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles


def off_centre(particles: Particles, shifts: Tensor) -> Particles:
    """Return the stack with the content of its images at minus the shifts (n, 2)."""
    model = ImageModel.within(particles.box, particles.box / 2)
    moved = model.shift(model.coefficients(all_images(particles)), -shifts)
    return with_images(particles, model.images(moved))


def shifts_of(spread: float, n: int) -> Tensor:
    return spread * torch.randn(n, 2, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("spread", [1.0, 2.0, 3.0])
def test_the_average_centres_particles(particles: Particles, spread: float) -> None:
    true = shifts_of(spread, particles.n)
    rows = torch.arange(particles.n)
    found = first_origins(off_centre(particles, true), rows, rows)
    # the middle of a projection is not that of the molecule, which is bent, and the average of few
    # particles far off-centre is a poor one
    error = (found - true).norm(dim=1)
    assert float(error.median()) < 1.2 + 0.35 * spread
    assert float(error.quantile(0.95)) < 3.0 + 0.7 * spread


def test_noise_is_left_in_the_middle(particles: Particles) -> None:
    noise = torch.randn(all_images(particles).shape, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(particles.n)
    found = first_origins(with_images(particles, noise), rows, rows)
    assert float(found.norm(dim=1).median()) < 1.5


def test_the_spread_is_that_of_most(particles: Particles) -> None:
    shifts = shifts_of(3.0, 4000)
    assert shift_spread(shifts) == pytest.approx(3.0, rel=0.05)
    shifts[::10] = 14.0
    assert shift_spread(shifts) == pytest.approx(3.0, rel=0.15)
    assert shift_spread(torch.zeros(10, 2)) > 0


def test_the_prior_is_a_probability() -> None:
    assert float(shift_log_prior(pixel_shifts(32), 3.0, 1.0).exp().sum()) == pytest.approx(1, 1e-3)


@pytest.mark.parametrize("spread", [None, 2.0])
def test_the_evidence_of_the_average_is_brute_force(
    particles: Particles, true_map: Tensor, spread: float | None
) -> None:
    quadrature = Quadrature.at(32, 6, 8, spread=spread)
    used, model = quadrature.n_used, quadrature.model
    volume = HartleyVolume(32, torch.ones(33), torch.Generator().manual_seed(0))
    volume.assign(grid_of_map(true_map))
    average = volume.average()
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    if spread is not None:
        poses.shifts = shifts_of(1.0, particles.n)
    images = particles.observed(torch.arange(4), model, shifts=poses.shifts[:4])
    variance = torch.linspace(1, 2, len(model.frequencies) // 2).repeat_interleave(2)
    found = evidence_of_averages(images, quadrature, [volume], variance)
    turned = quadrature.rotations[:1]
    predicted = images.ctf * central_slices(average, turned, model.frequencies)
    tried = pixel_shifts(32) if spread is not None else torch.zeros(1, 2)
    for row in range(4):
        moved = model.shift(images.coefficients[row], tried)
        cross = (moved * predicted[row] / variance)[:, :used].sum(1)
        log_p = cross - 0.5 * (predicted[row].square() / variance)[:used].sum()
        if spread is not None:
            log_p = log_p + shift_log_prior(images.origins[row] + tried, spread, 1.0)
        assert float(found[row]) == pytest.approx(float(torch.logsumexp(log_p, 0)), rel=1e-2)


def test_a_wide_look_finds_what_began_too_far_away(particles: Particles, true_map: Tensor) -> None:
    true = shifts_of(3.0, particles.n)
    moved = off_centre(particles, true)
    volume = HartleyVolume(32, torch.ones(33), torch.Generator().manual_seed(0))
    volume.assign(grid_of_map(true_map))
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    # every third has been found already; the others are believed to be elsewhere
    poses.shifts = true.clone()
    astray = torch.arange(particles.n) % 3 > 0
    poses.shifts[astray] += torch.tensor([4.0, -3.0])
    held_out = torch.zeros(particles.n, dtype=torch.bool)
    problem = Problem(moved, volume, poses, held_out, ModelSettings(shifts=True), 0)
    rows = torch.arange(min(particles.n, 120))
    before = poses.shifts.clone()
    found = WideLook(problem, NoiseSpectrum.white(32)).origins(rows)
    error = (found - true[rows]).norm(dim=1)
    # two pixels are the step of the look
    assert float((error < 2.0).float().mean()) > 0.9
    assert torch.equal(poses.shifts, before)


def test_the_spread_of_a_half_is_its_own_or_none_s(problem: Problem) -> None:
    """Also where none of its particles belongs, or all of them are held out."""
    own = torch.arange(problem.particles.n) % 2 == 1
    half, poses = replace(problem, part=own), problem.poses
    none = torch.zeros_like(own)
    poses.shifts = torch.where(own[:, None], 1.0, 9.0) * shifts_of(1.0, len(own))
    wanted = shift_spread(poses.shifts[own & ~problem.held_out])
    assert spread_of(half) == wanted != spread_of(problem)
    poses.set_membership(own.nonzero().flatten(), torch.zeros(int(own.sum())))
    assert spread_of(half) == wanted
    # of nobody it is what shifts are looked for by at first
    assert spread_of(replace(half, held_out=own)) == 0.1 * problem.particles.box
    assert spread_of(replace(half, part=none)) == 0.1 * problem.particles.box
