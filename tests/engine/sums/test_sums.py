"""Sums over poses: the exact one against brute force, the sampled one against the exact one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.modes import ModePoses
from napari_cryospin.engine.sums.previous import Memory
from napari_cryospin.engine.sums.proposals import SamplingOptions
from napari_cryospin.engine.sums.quadrature import Quadrature, march_radii, nside_for
from napari_cryospin.engine.sums.sampled import SampledSum

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.sums.posteriors import Posteriors

ROWS = torch.arange(24)


def observed(particles: Particles, quadrature: Quadrature, off: float = 0.7) -> Observed:
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    if quadrature.estimates_shifts:
        # as if each particle's origin had been found to within a pixel or so
        poses.shifts = off * torch.randn(particles.n, 2, generator=torch.Generator().manual_seed(1))
    return particles.observed(
        ROWS, quadrature.model, scales=poses.scales[ROWS], shifts=poses.shifts[ROWS]
    )


def prior(quadrature: Quadrature, images: Observed) -> Tensor:
    """Return the probabilities of the shifts by the Gaussian density times the step's area."""
    if not quadrature.estimates_shifts:
        return torch.ones(len(ROWS), 1)
    where = images.origins[:, None] + quadrature.shifts
    spread, step = quadrature.spread, float(quadrature.shifts[1].norm())
    density = torch.exp(-where.square().sum(2) / (2 * spread**2)) / (2 * np.pi * spread**2)
    return density * step**2


def white(quadrature: Quadrature) -> Tensor:
    return torch.ones(len(quadrature.model.frequencies))


def exact(
    particles: Particles, quadrature: Quadrature, grid: Tensor, off: float = 0.7
) -> tuple[ExactSum, Posteriors]:
    total = ExactSum(quadrature, grid, white(quadrature))
    images = observed(particles, quadrature, off)
    return total, total.posteriors(images, collect=True)


@pytest.mark.parametrize("spread", [None, 1.5])
def test_the_exact_sum_is_brute_force(
    particles: Particles, true_map: Tensor, spread: float | None
) -> None:
    quadrature = Quadrature.at(32, 4, 6, spread=spread)
    grid = grid_of_map(true_map)
    total, found = exact(particles, quadrature, grid)
    model, used = quadrature.model, quadrature.n_used
    images = observed(particles, quadrature)
    slices = model.project(grid, Poses.centred(quadrature.rotations)).double()
    log_p = []
    for shift in quadrature.shifts:
        centred = model.shift(images.coefficients, shift).double()
        difference = centred[:, None] - images.ctf[:, None].double() * slices
        log_p.append(-0.5 * difference[..., :used].square().sum(-1))
    likelihood = torch.stack(log_p, 1)
    n_poses = len(quadrature.rotations)
    log_prior = prior(quadrature, images).double().log()[..., None] - np.log(n_poses)
    constant = -0.5 * images.coefficients[:, :used].double().square().sum(1)
    joint = likelihood + log_prior
    evidence = torch.logsumexp(joint.flatten(1), 1) - constant
    assert torch.allclose(found.log_evidence.double(), evidence, atol=2e-3)
    weights = torch.softmax(joint.flatten(1), 1).view_as(joint)
    by_pose = weights.sum(1)
    assert torch.allclose(found.weights.double(), by_pose.gather(1, found.cells), atol=1e-4)
    best = joint.argmax(1).gather(1, found.cells)
    assert torch.equal(found.cell_shifts, quadrature.shifts[best])
    # the divergence of the posterior from the prior
    information = (weights * (weights.clamp(min=1e-30).log() - log_prior)).sum((1, 2))
    assert torch.allclose(found.information.double(), information, atol=2e-3)
    # what the posteriors leave of the images, at all frequencies
    (statistics,) = total.collected()
    expected = torch.zeros(len(model.frequencies), dtype=torch.double)
    for place, shift in enumerate(quadrature.shifts):
        centred = model.shift(images.coefficients, shift).double()
        difference = centred[:, None] - images.ctf[:, None].double() * slices
        expected += (weights[:, place, :, None] * difference.square()).sum((0, 1))
    # shifting mixes k and −k, whose sum is what counts
    residual = statistics.residual.double()
    assert torch.allclose(pairs(residual), pairs(expected), rtol=1e-3)
    assert statistics.n == len(ROWS)


def pairs(values: Tensor) -> Tensor:
    """Return the sums over k and −k, (K/2,)."""
    return values.unflatten(0, (-1, 2)).sum(1)


def test_shifts_at_the_heaviest_poses_do_for_all(
    particles: Particles, true_map: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    quadrature = Quadrature.at(32, 7, 9, spread=1.0)
    grid = grid_of_map(true_map)
    # shifts are known to half a step
    some, found = exact(particles, quadrature, grid, 0.35)
    monkeypatch.setattr(f"{ExactSum.__module__}._FEW_POINTS", 10**9)
    everything, expected = exact(particles, quadrature, grid, 0.35)
    missing = expected.log_evidence - found.log_evidence
    assert float(missing.median()) < 0.01
    assert float(missing.quantile(0.9)) < 1.0
    assert (found.cells[:, 0] == expected.cells[:, 0]).float().mean() > 0.9
    (one,), (other,) = some.collected(), everything.collected()
    for sums, wanted in zip(one.inserted, other.inserted, strict=True):
        # one image of many may find another pose
        assert float(torch.cosine_similarity(sums.flatten(), wanted.flatten(), 0)) > 0.98
    assert torch.allclose(one.residual.sum(), other.residual.sum(), rtol=0.02)


def test_scales_are_found(particles: Particles, true_map: Tensor) -> None:
    quadrature = Quadrature.at(32, 8, 8)
    total = ExactSum(quadrature, grid_of_map(true_map), white(quadrature))
    images = observed(particles, quadrature)
    found = total.posteriors(images).scales
    brighter = replace(images, coefficients=1.3 * images.coefficients)
    # the noise is brighter too, so what is found is a little less
    ratio = total.posteriors(brighter).scales / found
    assert 1.15 < float(ratio.median()) < 1.35
    # with the right scale in the CTF, the estimate stays where it is
    scaled = replace(brighter, ctf=1.3 * images.ctf, scales=1.3 * images.scales)
    again = total.posteriors(scaled)
    assert float(again.scales.median()) == pytest.approx(1.3, abs=0.15)


@pytest.mark.parametrize("spread", [None, 1.0])
@pytest.mark.parametrize("before", [2, 4, 8])
def test_the_sampled_sum_is_near_the_exact_one(
    particles: Particles,
    true_map: Tensor,
    before: int,
    spread: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the posterior at this level, and from those at coarser levels."""
    monkeypatch.setattr(f"{ExactSum.__module__}._FEW_POINTS", 10**9)
    grid = grid_of_map(true_map)
    quadrature = Quadrature.at(32, 10, 12, spread=spread)
    assert quadrature.nside == 8
    earlier = Quadrature.at(32, {2: 4, 4: 8, 8: 9}[before], 10, spread=spread)
    assert earlier.nside == before
    memory = Memory(particles.n, torch.device("cpu"))
    memory.remember(ROWS, exact(particles, earlier, grid)[1], earlier)
    whole, expected = exact(particles, quadrature, grid)
    images = observed(particles, quadrature)
    draw = torch.Generator().manual_seed(0)
    total = SampledSum(quadrature, grid, white(quadrature), memory, SamplingOptions(), draw)
    found = total.posteriors(images, collect=True)
    # the constant that the sums leave out belongs to a log-likelihood
    used = quadrature.n_used
    whole_log = 0.5 * images.coefficients[:, :used].square().sum(1) - expected.log_evidence
    difference = (found.log_evidence - expected.log_evidence).abs() / whole_log.abs()
    assert (found.cells[:, 0] == expected.cells[:, 0]).float().mean() > 0.9
    if before == 2:
        # over two levels a particle may be misled once; most are not
        assert float(difference.median()) < 5e-3
        return
    assert float(difference.mean()) < 3e-3
    assert float(found.points.float().mean()) < 0.2 * quadrature.n_points
    (exactly,), (sampled,) = whole.collected(), total.collected()
    for one, other in zip(sampled.inserted, exactly.inserted, strict=True):
        assert (one - other).norm() < 0.05 * other.norm()
    assert torch.allclose(sampled.residual.sum(), exactly.residual.sum(), rtol=0.01)


def test_samples_are_unbiased(particles: Particles, true_map: Tensor) -> None:
    """However few samples there are, their sum is right on average."""
    grid = grid_of_map(0.05 * true_map)
    quadrature = Quadrature.at(32, 4, 4)
    _, expected = exact(particles, quadrature, grid)
    memory = Memory(particles.n, torch.device("cpu"))
    memory.remember(ROWS, expected, quadrature)
    images = observed(particles, quadrature)
    draw = torch.Generator().manual_seed(0)
    options = SamplingOptions(factor=1)
    sums = []
    for _ in range(100):
        total = SampledSum(quadrature, grid, white(quadrature), memory, options, draw)
        found = total.posteriors(images)
        sums.append((found.log_evidence - expected.log_evidence).exp())
    assert float(torch.stack(sums).mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_every_image_counts_as_one(particles: Particles, true_map: Tensor, strength: float) -> None:
    """However broad its posterior: no weight is lost with samples that are left out of the map."""
    grid = grid_of_map(strength * true_map)
    quadrature = Quadrature.at(32, 8, 10)
    total, expected = exact(particles, quadrature, grid)
    memory = Memory(particles.n, torch.device("cpu"))
    memory.remember(ROWS, expected, quadrature)
    draw = torch.Generator().manual_seed(0)
    sampled = SampledSum(
        quadrature, grid, white(quadrature), memory, SamplingOptions(factor=100), draw
    )
    sampled.posteriors(observed(particles, quadrature), collect=True)
    (found,), (wanted,) = sampled.collected(), total.collected()
    assert float(found.inserted[1].sum() / wanted.inserted[1].sum()) == pytest.approx(1, abs=0.01)
    assert torch.allclose(found.residual, wanted.residual, rtol=0.1)


@pytest.mark.parametrize("spread", [None, 1.0])
def test_what_lies_beyond_is_told_by_both_sums(
    particles: Particles, true_map: Tensor, spread: float | None
) -> None:
    grid = grid_of_map(true_map)
    quadrature = Quadrature.at(32, 7, 10, spread=spread)
    total, expected = exact(particles, quadrature, grid)
    everything = replace(quadrature, n_used=len(quadrature.model.frequencies))
    images = observed(particles, quadrature)
    further = ExactSum(everything, grid, white(quadrature)).posteriors(images)
    beyond = total.posteriors(images, look_beyond=True).beyond
    assert torch.allclose(beyond, further.log_evidence - expected.log_evidence, atol=1e-2)
    memory = Memory(particles.n, torch.device("cpu"))
    memory.remember(ROWS, expected, quadrature)
    draw = torch.Generator().manual_seed(0)
    sampled = SampledSum(quadrature, grid, white(quadrature), memory, SamplingOptions(), draw)
    found = sampled.posteriors(images, look_beyond=True).beyond
    assert float((found - beyond).abs().median()) < 0.2
    assert not expected.beyond.any()


def test_modes_are_far_from_each_other(particles: Particles, true_map: Tensor) -> None:
    quadrature = Quadrature.at(32, 8, 8)
    _, found = exact(particles, quadrature, grid_of_map(0.3 * true_map))
    modes = ModePoses.of(found, quadrature, 4)
    rotations, weights = modes.rotations, modes.weights
    assert (weights[:, 1] > 0).any()
    first, second = rotations[:, 0].numpy(), rotations[:, 1].numpy()
    distance = angular_distance(first, second)[(weights[:, 1] > 0).numpy()]
    assert distance.min() > 39  # 2.7 cells of 14.7°
    assert (weights[:, 0] >= weights[:, 1]).all()
    assert (weights.sum(1) <= 1.001).all()
    # a place without a mode holds the best one, with no weight
    empty = weights[:, 3] == 0
    assert torch.equal(rotations[empty, 3], rotations[empty, 0])
    assert not modes.shifts.any()


@pytest.mark.parametrize(
    ("box", "nside", "limit", "radii"),
    [
        (32, 4, np.inf, [3, 4, 5, 6, 7, 8]),
        (32, 8, np.inf, [3, 4, 5, 6, 7, 8, 10, 13, 15]),
        (64, 8, 12.0, [3, 4, 5, 6, 7, 8, 10, 12]),
        (64, 16, np.inf, [3, 4, 5, 6, 7, 8, 10, 13, 16, 20, 24, 28, 31]),
        (32, 2, 1.0, [1]),
    ],
)
def test_the_march_goes_as_far_as_grid_box_and_limit_allow(
    box: int, nside: int, limit: float, radii: list[int]
) -> None:
    assert march_radii(box, nside, limit) == radii


def test_a_level_resolves_twice_its_nside() -> None:
    assert [nside_for(radius) for radius in (1, 4, 5, 8, 9, 16, 17)] == [2, 2, 4, 4, 8, 8, 16]
