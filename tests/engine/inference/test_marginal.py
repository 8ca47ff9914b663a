"""The noise by which the march weighs poses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.inference.marginal import MarginalInference
from napari_cryospin.engine.models.noise import NoiseSpectrum, shells_of
from napari_cryospin.engine.models.volume import HartleyVolume
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.stages import MarginalStage
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def problem(particles: Particles, settings: Settings) -> Problem:
    """The small stack, of which nothing is known."""
    draw = torch.Generator().manual_seed(0)
    amplitude = signal_amplitude(particles, torch.arange(particles.n))
    volume = HartleyVolume(particles.box, amplitude, draw)
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    held_out = torch.arange(particles.n) % 4 == 0
    return Problem(particles, volume, poses, held_out, settings.model, 0)


def variance(inference: MarginalInference) -> Tensor:
    """Return what it weighs poses by."""
    return 1 / inference._exact(inference._points())._precision


def known(noise: NoiseSpectrum, inference: MarginalInference) -> MarginalInference:
    """Return an inference that has found a noise."""
    inference._noise = noise
    return inference


def test_sharp_posteriors_wait_for_a_structure(problem: Problem) -> None:
    stage = MarginalStage()
    inference = MarginalInference(problem, stage)
    shells = shells_of(inference._points().model)
    first = inference.noise.variance
    assert torch.allclose(variance(inference), first[shells])
    # images that are nearly without noise count as if they had some
    known(NoiseSpectrum(0.01 * first), inference)
    assert torch.allclose(variance(inference), 0.05 * first[shells])
    # what a run tells of the noise is what it has found
    assert torch.equal(inference.noise.variance, 0.01 * first)
    # where there is as much noise it is taken as it is
    known(NoiseSpectrum(0.5 * first), inference)
    assert torch.allclose(variance(inference), 0.5 * first[shells])


def test_the_stage_after_it_takes_the_noise_as_it_is(problem: Problem) -> None:
    before = MarginalInference(problem, MarginalStage())
    known(NoiseSpectrum(0.01 * before.noise.variance), before)
    after = MarginalInference(problem, MarginalStage(nside=8), before)
    shells = shells_of(after._points().model)
    assert torch.allclose(variance(after), before.noise.variance[shells])


def test_a_run_that_goes_on_weighs_by_the_same(problem: Problem) -> None:
    before = MarginalInference(problem, MarginalStage())
    known(NoiseSpectrum(0.01 * before.noise.variance), before)
    problem.held_out.logical_not_()
    after = MarginalInference(problem, MarginalStage())
    after.load_state(before.state())
    assert torch.equal(variance(after), variance(before))
