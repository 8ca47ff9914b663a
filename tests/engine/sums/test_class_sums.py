"""Sums over several maps: a particle's posterior is over maps as well as over poses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.geometry.cells import n_cells
from napari_cryospin.engine.models.sums import mean_residual
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.modes import ModePoses
from napari_cryospin.engine.sums.previous import Memory
from napari_cryospin.engine.sums.proposals import SamplingOptions, propose_poses
from napari_cryospin.engine.sums.quadrature import Quadrature, split_cells
from napari_cryospin.engine.sums.sampled import SampledSum

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.data.particles import Particles

ROWS = torch.arange(24)


@pytest.fixture
def grids(true_map: Tensor) -> Tensor:
    """The true map, and its mirror image with other densities."""
    other = 0.3 * true_map.flip(0).roll(1, 1) + 0.8 * true_map
    return torch.stack([grid_of_map(true_map), grid_of_map(other)])


def white(quadrature: Quadrature) -> Tensor:
    return torch.ones(len(quadrature.model.frequencies))


def seen(particles: Particles, quadrature: Quadrature) -> Observed:
    return particles.observed(ROWS, quadrature.model)


@pytest.mark.parametrize("spread", [None, 1.0])
@pytest.mark.parametrize("radius", [4, 7])
def test_two_maps_share_what_each_alone_has(
    particles: Particles, grids: Tensor, spread: float | None, radius: int
) -> None:
    quadrature = Quadrature.at(32, radius, radius + 1, spread=spread)
    images, variance = seen(particles, quadrature), white(quadrature)
    both = ExactSum(quadrature, grids, variance)
    found = both.posteriors(images, collect=True)
    alone = [ExactSum(quadrature, grid, variance) for grid in grids]
    evidence = torch.stack([each.posteriors(images).log_evidence for each in alone], 1)
    wanted = evidence.softmax(1)
    assert torch.allclose(found.classes, wanted, atol=1e-4)
    log_evidence = evidence.logsumexp(1) - torch.tensor(2.0).log()
    assert torch.allclose(found.log_evidence, log_evidence, atol=1e-3)
    residual, largest = [], both.collected()[0].inserted.abs().amax((1, 2, 3))
    for number, (one, sums) in enumerate(zip(alone, both.collected(), strict=True)):
        # the same as a map alone makes of images that are of it by so much
        one.posteriors(replace(images, membership=wanted[:, number]), collect=True)
        (expected,) = one.collected()
        error = (sums.inserted - expected.inserted).abs().amax((1, 2, 3))
        assert (error < 2e-3 * largest).all()
        assert sums.weight == pytest.approx(expected.weight, rel=1e-4)
        residual.append(expected)
    assert torch.allclose(mean_residual(both.collected()), mean_residual(residual), rtol=1e-3)


def test_sampling_all_cells_is_the_whole_sum(particles: Particles, grids: Tensor) -> None:
    quadrature = Quadrature.at(32, 4, 6)
    images, variance = seen(particles, quadrature), white(quadrature)
    whole = ExactSum(quadrature, grids, variance)
    wanted = whole.posteriors(images, collect=True)
    memory = Memory(particles.n, torch.device("cpu"))
    memory.remember(ROWS, wanted, quadrature)
    options = SamplingOptions(factor=1e4, uniform=0.5)
    draw = torch.Generator().manual_seed(0)
    sampled = SampledSum(quadrature, grids, variance, memory, options, draw)
    found = sampled.posteriors(images, collect=True)
    assert torch.allclose(found.log_evidence, wanted.log_evidence, atol=0.4)
    # a particle that hesitates between the maps is told by fewer samples of each
    assert (found.classes - wanted.classes).abs().median() < 0.02
    assert torch.equal(memory.classes(ROWS), split_cells(wanted.cells[:, 0], 2)[0])
    for own, other in zip(sampled.collected(), whole.collected(), strict=True):
        alike = torch.cosine_similarity(own.inserted[0].flatten(), other.inserted[0].flatten(), 0)
        assert float(alike) > 0.95
        assert own.weight == pytest.approx(other.weight, rel=0.1)


def test_slices_that_are_not_kept_are_those_of_each_map(
    particles: Particles, grids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    quadrature = Quadrature.at(32, 4, 6)
    images, variance = seen(particles, quadrature), white(quadrature)
    memory = Memory(particles.n, torch.device("cpu"))
    memory.remember(ROWS, ExactSum(quadrature, grids, variance).posteriors(images), quadrature)
    found = []
    for kept in (10**9, 0):
        monkeypatch.setattr(f"{Quadrature.__module__}.KEPT", kept)
        draw = torch.Generator().manual_seed(0)
        total = SampledSum(quadrature, grids, variance, memory, SamplingOptions(), draw)
        found.append(total.posteriors(images))
    assert torch.allclose(found[0].log_evidence, found[1].log_evidence, atol=1e-3)
    assert torch.equal(found[0].cells[:, 0], found[1].cells[:, 0])


@pytest.mark.parametrize("nside", [2, 4, 8])
def test_cells_are_proposed_of_the_map_that_they_are_of(nside: int) -> None:
    memory = Memory(4, torch.device("cpu"))
    memory.nside[:] = 2
    memory.cells[:, 0] = torch.arange(4) * 7 + n_cells(2)
    memory.weights[:, 0] = 1
    options, draw = SamplingOptions(uniform=0.05), torch.Generator().manual_seed(0)
    drawn = propose_poses(memory, torch.arange(4), nside, 400, options, draw, 2)
    maps, cells = split_cells(drawn.points, nside)
    # all but those that may be any
    assert (maps[:, :380] == 1).all() and set(maps[:, 380:].unique().tolist()) == {0, 1}
    assert bool(((cells >= 0) & (cells < n_cells(nside))).all())
    assert drawn.log_q.isfinite().all()


def test_the_same_turn_in_two_maps_is_two_modes(particles: Particles, grids: Tensor) -> None:
    quadrature = Quadrature.at(32, 4, 6)
    alike = torch.stack([grids[0], grids[0]])
    found = ExactSum(quadrature, alike, white(quadrature)).posteriors(seen(particles, quadrature))
    modes = ModePoses.of(found, quadrature, 4)
    assert torch.allclose(modes.weights[:, 0], modes.weights[:, 1], atol=1e-4)
    assert (modes.classes[:, 0] != modes.classes[:, 1]).all()
    poses = PoseTable.empty(particles.n, 4, torch.device("cpu"), 2)
    modes.record(poses, ROWS)
    assert torch.equal(poses.classes[ROWS], modes.classes[:, 0])
    assert torch.equal(poses.candidates_at(ROWS).classes, modes.classes)
