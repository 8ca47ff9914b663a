"""The map from the statistics of posteriors: in closed form, by gradient steps, with priors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.geometry.slices import insert_slices
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.map_update import MapUpdate, non_negative
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import grid_of_map, map_of_grid

SIGMA = 20.0


@pytest.fixture(scope="module")
def volume() -> torch.Tensor:
    return torch.from_numpy(procedural_molecule(box=32, pixel_size=4.0)) * 3


@pytest.fixture(scope="module")
def inserted(volume: torch.Tensor) -> torch.Tensor:
    """Statistics of 500 noisy images at known poses."""
    rng = np.random.default_rng(0)
    model = ImageModel.within(32, 16)
    rotations = torch.from_numpy(random_rotations(500, rng)).float()
    slices = Projector(volume).slices(rotations, model.frequencies)
    noisy = slices + SIGMA * torch.from_numpy(rng.normal(size=slices.shape)).float()
    return insert_slices(
        torch.stack((noisy, torch.ones_like(noisy))), rotations, model.frequencies, 32
    )


def noise() -> NoiseSpectrum:
    return NoiseSpectrum(torch.full((16,), SIGMA**2))


def error(grid: torch.Tensor, volume: torch.Tensor) -> float:
    found = map_of_grid(grid)
    # the images hold no frequency 0
    difference = (found - found.mean()) - (volume - volume.mean())
    return float(difference.norm() / (volume - volume.mean()).norm())


def update(**options: object) -> MapUpdate:
    return MapUpdate(32, torch.full((17,), 5.0), **{"memory": 1, **options})


def test_the_shells_prior_learns_the_signal(inserted: torch.Tensor, volume: torch.Tensor) -> None:
    free = error(update(prior="none")(inserted, noise()), volume)
    learning = update(prior="shells")
    for _ in range(10):
        grid = learning(inserted, noise())
    assert error(grid, volume) < 0.7 * free
    # where there is nothing but noise the signal dies away
    nothing = update(prior="shells")
    random = insert_noise(inserted)
    for _ in range(60):
        grid = nothing(random, noise())
    assert grid.norm() < 0.4 * update(prior="none")(random, noise()).norm()


def insert_noise(inserted: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(inserted[0].shape, generator=generator) * SIGMA
    return torch.stack((noise * inserted[1].sqrt(), inserted[1]))


def test_gradient_steps_end_where_the_closed_form_is(inserted: torch.Tensor) -> None:
    solved = update(prior="none")(inserted, noise())
    stepping = update(prior="none", update="gradient")
    distances = [
        float((stepping(inserted, noise()) - solved).norm() / solved.norm()) for _ in range(120)
    ]
    assert distances[0] > 0.5
    assert distances[-1] < 0.25
    assert distances[-1] < distances[20] < distances[2]


def test_densities_are_not_negative(inserted: torch.Tensor, volume: torch.Tensor) -> None:
    free = update(prior="none")(inserted, noise())
    bounded = non_negative(free, inserted[1] / SIGMA**2)
    window_free = map_of_grid(grid_of_map(map_of_grid(bounded)))
    assert map_of_grid(free).min() < -0.1 * map_of_grid(free).max()
    assert window_free.min() > -0.02 * window_free.max()
    assert error(bounded, volume) < 0.8 * error(free, volume)
    assert torch.allclose(update(prior="non-negative")(inserted, noise()), bounded, atol=1e-4)


def test_the_memory_is_that_of_some_batches(inserted: torch.Tensor) -> None:
    remembering = update(memory=4)
    for _ in range(60):
        remembering(inserted, noise())
    assert torch.allclose(remembering.total, 4 * inserted, rtol=1e-3)


def test_the_state_comes_back(inserted: torch.Tensor) -> None:
    one, other = update(update="gradient"), update(update="gradient")
    one(inserted, noise())
    other.load_state(one.state())
    assert torch.equal(one(inserted, noise()), other(inserted, noise()))
