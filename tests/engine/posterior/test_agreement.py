"""The posterior that the explorer shows is the one that training sums over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.models.noise import NoiseSpectrum, shells_of
from napari_cryospin.engine.models.volume import grid_of_map, map_of_grid
from napari_cryospin.engine.posterior.coarse_grid import CoarseGrid
from napari_cryospin.engine.posterior.likelihood import PoseLikelihood
from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.sums import exact
from napari_cryospin.engine.sums.quadrature import Quadrature
from napari_cryospin.engine.sums.weights import normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles

N = 36


@pytest.fixture
def noise() -> NoiseSpectrum:
    return NoiseSpectrum(torch.linspace(2.0, 0.7, 16))


@pytest.fixture
def scales(particles: Particles) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(0.5, 2, particles.n)).float()


@pytest.fixture
def learned(true_map: Tensor) -> Tensor:
    """A grid as training makes it: what it knows nothing of is noise, up to the box's corners."""
    grid = grid_of_map(true_map)
    draw = torch.Generator().manual_seed(0)
    return grid + 0.2 * grid.std() * torch.randn(grid.shape, generator=draw)


def trained_with(
    particles: Particles, grid: Tensor, quadrature: Quadrature, scales: Tensor, noise: NoiseSpectrum
) -> Tensor:
    """Return the posteriors of training's own sum over poses, (N, J)."""
    total = exact.ExactSum(quadrature, grid, noise.variance[shells_of(quadrature.model)])
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    poses.scales = scales
    rows = torch.arange(N)
    images = particles.observed(
        rows, quadrature.model, scales=poses.scales[rows], shifts=poses.shifts[rows]
    )
    found = total.posteriors(images)
    return torch.zeros(N, len(quadrature.rotations)).scatter_(1, found.cells, found.weights)


def total_variation(one: Tensor, other: Tensor) -> Tensor:
    return 0.5 * (one - other).abs().sum(1)


@pytest.mark.parametrize("radius", [6, 8])
@pytest.mark.parametrize("shifts", [False, True])
def test_explorer_and_training_agree(
    particles: Particles,
    learned: Tensor,
    scales: Tensor,
    noise: NoiseSpectrum,
    monkeypatch: pytest.MonkeyPatch,
    radius: int,
    shifts: bool,
) -> None:
    # the sum remembers the heaviest cells alone; all of them are compared here
    monkeypatch.setattr(exact, "KEPT_CELLS", 1_000_000)
    monkeypatch.setattr(exact, "_FEW_POINTS", 1_000_000)
    # shifts near the present one are equally probable to the explorer
    spread = 1000.0 if shifts else None
    quadrature = Quadrature.at(particles.box, radius, radius, spread=spread)
    assert len(quadrature.shifts) == (9 if shifts else 1)
    trained = trained_with(particles, learned, quadrature, scales, noise)

    def shown(factors: NDArray[np.float32] | None) -> Tensor:
        likelihood = PoseLikelihood(particles, map_of_grid(learned).numpy(), noise, factors)
        grid = CoarseGrid(likelihood, quadrature.nside, radius)
        rows = torch.arange(N)
        log_p = [grid.log_probability(rows, one.expand(N, 2)) for one in quadrature.shifts]
        return normalised(torch.stack(log_p, 1))[0].sum(1)

    assert torch.allclose(trained.sum(1), torch.ones(N), atol=1e-4)
    assert total_variation(shown(scales.numpy()), trained).max() < 0.01
    # and scales matter
    assert total_variation(shown(None), trained).max() > 0.1


def test_the_explorer_takes_scales_everywhere(particles: Particles, true_map: Tensor) -> None:
    """A map twice as strong, and particles with half of it, are what they were."""
    half = np.full(particles.n, 0.5)
    one, other = ParticlePosteriors(particles), ParticlePosteriors(particles)
    one.set_volume(true_map.numpy())
    other.set_volume(2 * true_map.numpy(), scales=half)
    found, again = one.particle(3), other.particle(3)
    assert np.allclose(found.probability, again.probability, atol=1e-3)
    assert np.allclose(found.projection, again.projection, atol=1e-3)
    noises = [posteriors.grid.likelihood.noise.variance for posteriors in (one, other)]
    assert torch.allclose(*noises, rtol=1e-2)


def test_the_map_that_is_shown_gives_back_the_grid(learned: Tensor) -> None:
    again = grid_of_map(map_of_grid(learned))
    # but for Nyquist, which is there twice
    inside = slice(1, -1)
    found, known = again[inside, inside, inside], learned[inside, inside, inside]
    assert (found - known).abs().max() < 1e-3 * learned.abs().max()
