from __future__ import annotations

import numpy as np
import pytest

from napari_cryospin.engine.geometry.cells import (
    ancestors,
    cells_of_rotations,
    children,
    n_cells,
    neighbours,
    rotations_of_cells,
    spacing,
)
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations


@pytest.mark.parametrize("nside", [1, 2, 4])
def test_the_centre_of_a_cell_lies_in_it(nside: int) -> None:
    cells = np.arange(n_cells(nside))
    assert np.array_equal(cells_of_rotations(rotations_of_cells(cells, nside), nside), cells)


def test_children_cover_the_next_level_once_and_know_their_parent() -> None:
    cells = np.arange(n_cells(2))
    split = children(cells, 2)
    assert np.array_equal(np.sort(split.ravel()), np.arange(n_cells(4)))
    assert np.array_equal(ancestors(split, 4, 2), np.repeat(cells[:, None], 8, 1))
    again = children(split.ravel(), 4)
    assert np.array_equal(ancestors(again, 8, 2).reshape(-1, 64), np.repeat(cells[:, None], 64, 1))


def test_random_poses_lie_in_nested_cells() -> None:
    rotations = random_rotations(2000, np.random.default_rng(0))
    fine = cells_of_rotations(rotations, 16)
    assert np.array_equal(ancestors(fine, 16, 4), cells_of_rotations(rotations, 4))


def test_cells_have_equal_volume() -> None:
    rotations = random_rotations(40_000, np.random.default_rng(1))
    counts = np.bincount(cells_of_rotations(rotations, 1), minlength=n_cells(1))
    # 72 cells, 556 poses in each on average: six standard deviations
    assert np.abs(counts - counts.mean()).max() < 6 * np.sqrt(counts.mean())


@pytest.mark.parametrize("nside", [4, 8, 16])
def test_a_pose_is_near_the_centre_of_its_cell_at_the_poles_too(nside: int) -> None:
    rotations = random_rotations(3000, np.random.default_rng(2))
    rotations[:500, :, :] = rotations_of_cells(cells_of_rotations(rotations[:500], 64), 64)
    centres = rotations_of_cells(cells_of_rotations(rotations, nside), nside)
    distance = angular_distance(rotations, centres)
    assert np.median(distance) < 0.75 * spacing(nside)
    assert distance.max() < 2.5 * spacing(nside)


def test_neighbours_are_the_nearest_cells() -> None:
    found = neighbours(2)
    rotations = rotations_of_cells(np.arange(n_cells(2)), 2)
    for cell in (0, 100, 575):
        distances = angular_distance(rotations[cell], rotations)
        assert found[cell, 0] == cell
        assert distances[found[cell]].max() <= np.sort(distances)[26] + 1e-9
