from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.geometry.grids import directions_of, pose_grid
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.grid import GridSlices, shift_grid
from napari_cryospin.engine.inference.options import PosteriorOptions
from napari_cryospin.engine.inference.poses import PoseTable
from napari_cryospin.engine.inference.posterior import PosteriorExplorer
from napari_cryospin.engine.inference.search import SearchRound, search_poses, search_rounds
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import grid_of_map

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.preprocess import WorkingStack


def test_log_probabilities_equal_brute_force(stack: WorkingStack, true_map: Tensor) -> None:
    model = ImageModel.within(32, 7)
    grid = grid_of_map(true_map).double()
    rotations = pose_grid(2).rotations.double()
    rows = torch.arange(5)
    observed = model.coefficients(stack.images[rows].double())
    ctf = stack.ctf(rows, model.frequencies).double()
    model = ImageModel(model.box, model.frequencies.double(), model.opposite, model.index)
    log_p = GridSlices.of(grid, rotations, model).log_probability(observed, ctf)
    residual = observed[:, None] - ctf[:, None] * model.project(grid, rotations, None)
    brute = -0.5 * residual.square().sum(-1)
    constant = (log_p - brute).mean(1, keepdim=True)
    assert torch.allclose(log_p - constant, brute, atol=1e-8)


def test_pose_grid_covers_directions_in_healpix_order() -> None:
    grid = pose_grid(4)
    assert grid.rotations.shape == (192 * 24, 3, 3)
    expected = np.repeat(np.arange(192), 24)
    assert np.array_equal(directions_of(grid.rotations.numpy(), 4), expected)


def test_the_posterior_peaks_at_the_true_pose(
    stack: WorkingStack, true_map: Tensor, true_rotations: Tensor
) -> None:
    explorer = PosteriorExplorer(stack)
    explorer.set_volume(true_map.numpy())
    errors = []
    for particle in range(20):
        posterior = explorer.particle(particle)
        assert posterior.direction_probability.sum() == pytest.approx(1)
        errors.append(angular_distance(posterior.best_rotation, true_rotations[particle].numpy()))
    # far below the 7.3° of the grid
    assert np.median(errors) < 3
    # what is left is the noise: the particle and its projection have gone
    assert posterior.difference.std() < posterior.image.std()
    assert np.corrcoef(posterior.image.ravel(), posterior.projection.ravel())[0, 1] > 0.4


def test_a_better_map_gives_a_sharper_posterior(stack: WorkingStack, true_map: Tensor) -> None:
    explorer = PosteriorExplorer(stack, PosteriorOptions(nside=4))
    explorer.set_volume(true_map.numpy())
    sharp = explorer.particle(0).entropy
    explorer.set_volume(np.zeros((32, 32, 32)))
    flat = explorer.particle(0)
    assert flat.entropy == pytest.approx(np.log(192 * 24))
    assert np.allclose(flat.direction_probability, 1 / 192)
    assert sharp < 0.5 * flat.entropy


def test_the_explorer_needs_a_map(stack: WorkingStack) -> None:
    with pytest.raises(RuntimeError, match="set_volume"):
        PosteriorExplorer(stack).particle(0)


def test_a_search_with_the_true_map_finds_the_poses(
    stack: WorkingStack, true_map: Tensor, true_rotations: Tensor
) -> None:
    poses = PoseTable.empty(stack.n, 1, torch.device("cpu"))
    grid, _ = search_poses(stack, grid_of_map(true_map), poses, SearchRound(10, 8), shifts=False)
    errors = angular_distance(poses.rotations.numpy(), true_rotations.numpy())
    assert np.median(errors) < 6
    # its M-step gives the map back at the frequencies in use
    inside = ImageModel.within(32, 6)
    true, found = (
        inside.project(g, true_rotations[:20], None) for g in (grid_of_map(true_map), grid)
    )
    assert np.corrcoef(true.ravel(), found.ravel())[0, 1] > 0.95


def test_a_search_finds_shifts(
    stack: WorkingStack, true_map: Tensor, true_rotations: Tensor
) -> None:
    model = ImageModel.within(32, 16)
    shifts = torch.tensor([2.0, -1.0]).expand(stack.n, 2)
    moved = model.images(model.shift(model.coefficients(stack.images), -shifts))
    from dataclasses import replace

    poses = PoseTable.empty(stack.n, 1, torch.device("cpu"))
    search_poses(
        replace(stack, images=moved), grid_of_map(true_map), poses, SearchRound(10, 8), shifts=True
    )
    assert np.median((poses.shifts - shifts).norm(dim=1)) <= 1
    assert np.median(angular_distance(poses.rotations.numpy(), true_rotations.numpy())) < 7


def test_rounds_march_to_what_grid_and_box_resolve() -> None:
    coarse, fine = search_rounds(32, 8)
    radii = [round_.radius for round_ in coarse + fine]
    assert radii == sorted(radii)
    assert {round_.nside for round_ in fine} == {8}
    assert {round_.nside for round_ in coarse} == {2, 4}
    assert search_rounds(32, 4) == (coarse, [])


def test_the_evidence_prefers_the_true_map(stack: WorkingStack, true_map: Tensor) -> None:
    poses = PoseTable.empty(stack.n, 1, torch.device("cpu"))
    turned = torch.rot90(true_map, 1, (0, 1)).flip(2)
    evidence = [
        search_poses(stack, grid_of_map(volume), poses, SearchRound(6, 4), shifts=False)[1]
        for volume in (true_map, 0.5 * (true_map + turned))
    ]
    assert evidence[0] > evidence[1]


def test_shift_grid_is_a_disk() -> None:
    grid = shift_grid(3.2, 1.0)
    assert len(grid) == 29 + 8  # integer points within radius 3.2: 37
    assert grid.norm(dim=1).max() <= 3.2
