"""Whether images show a structure of their own: a run is made of them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.data.normalise import soft_mask
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.run.others import structure_of
from napari_cryospin.engine.run.training import Training
from particle_images import with_images

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def training(particles: Particles, settings: Settings) -> Training:
    return Training(particles, settings)


def test_particles_make_a_map_of_their_own(training: Training) -> None:
    # the run's own map is nothing yet
    before = {name: value.clone() for name, value in training.poses.state().items()}
    grid = training.volume.grid().detach().clone()
    stages = list(training.settings.stages)
    found = structure_of(training, torch.arange(training.particles.n))
    assert found is not None and found.show_a_structure
    assert found.explained > 0.9
    # the run that asks is left as it was
    assert torch.equal(training.volume.grid(), grid)
    assert training.settings.stages == stages and bool(training.used.all())
    for name, value in training.poses.state().items():
        assert torch.equal(value.nan_to_num(), before[name].nan_to_num())


def test_particles_that_the_map_explains_are_no_others(
    training: Training, true_map: Tensor
) -> None:
    """As where good particles were taken for outliers."""
    training.volume.assign(grid_of_map(true_map))
    found = structure_of(training, torch.arange(training.particles.n))
    assert found is not None and not found.show_a_structure
    assert found.explained < 0.1


def test_noise_makes_none(particles: Particles, settings: Settings) -> None:
    n = particles.n
    draw = torch.Generator().manual_seed(0)
    images = soft_mask(32, 32) * torch.randn(n, 32, 32, generator=draw)
    training = Training(with_images(particles, images), settings)
    found = structure_of(training, torch.arange(n))
    assert found is not None and not found.show_a_structure


def test_few_images_are_not_asked(training: Training) -> None:
    assert structure_of(training, torch.arange(100)) is None
