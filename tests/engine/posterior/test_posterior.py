from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.geometry.cells import n_cells, rotations_of_cells
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.sums.products import PoseSlices
from napari_cryospin.engine.sums.quadrature import shift_grid
from particle_images import all_images

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles


def test_log_probabilities_equal_brute_force(particles: Particles, true_map: Tensor) -> None:
    model = ImageModel.within(32, 7)
    grid = grid_of_map(true_map).double()
    rotations = torch.from_numpy(rotations_of_cells(np.arange(n_cells(2)), 2))
    rows = torch.arange(5)
    observed = model.coefficients(all_images(particles)[rows].double())
    ctf = particles.ctf(rows, model.frequencies).double()
    model = ImageModel(model.box, model.frequencies.double(), model.index)
    slices = model.project(grid, Poses.centred(rotations))
    log_p = PoseSlices.of(slices).log_probability(observed, ctf)
    residual = observed[:, None] - ctf[:, None] * slices
    brute = -0.5 * residual.square().sum(-1)
    constant = (log_p - brute).mean(1, keepdim=True)
    assert torch.allclose(log_p - constant, brute, atol=1e-8)
    # at poses of each image's own
    own = torch.randint(len(slices), (5, 7), generator=torch.Generator().manual_seed(0))
    told = PoseSlices.of(slices).at(own).log_probability(observed, ctf)
    assert torch.allclose(told, log_p.gather(1, own))


def test_the_posterior_peaks_at_the_true_pose(
    particles: Particles, true_map: Tensor, true_rotations: Tensor
) -> None:
    posteriors = ParticlePosteriors(particles)
    posteriors.set_volume(true_map.numpy())
    errors = []
    for particle in range(20):
        posterior = posteriors.particle(particle)
        assert posterior.direction_probability.sum() == pytest.approx(1)
        errors.append(angular_distance(posterior.best_rotation, true_rotations[particle].numpy()))
    # far below the 7.3° of the grid
    assert np.median(errors) < 3
    # what is left is the noise: the particle and its projection have gone
    assert posterior.difference.std() < posterior.image.std()
    assert np.corrcoef(posterior.image.ravel(), posterior.projection.ravel())[0, 1] > 0.4


def test_a_better_map_gives_a_sharper_posterior(particles: Particles, true_map: Tensor) -> None:
    posteriors = ParticlePosteriors(particles, PosteriorOptions(nside=4))
    posteriors.set_volume(true_map.numpy())
    sharp = posteriors.particle(0).entropy
    posteriors.set_volume(np.zeros((32, 32, 32)))
    flat = posteriors.particle(0)
    assert flat.entropy == pytest.approx(np.log(192 * 24))
    assert np.allclose(flat.direction_probability, 1 / 192)
    assert sharp < 0.5 * flat.entropy


def test_the_explorer_needs_a_map(particles: Particles) -> None:
    with pytest.raises(RuntimeError, match="set_volume"):
        ParticlePosteriors(particles).particle(0)


def test_shift_grid_is_a_disk() -> None:
    grid = shift_grid(3.2, 1.0)
    assert len(grid) == 29 + 8  # integer points within radius 3.2: 37
    assert grid.norm(dim=1).max() <= 3.2
