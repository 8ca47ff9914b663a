"""Sums of a symmetric molecule: every image at all its mates, and poses of one unit alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.models.sums import MapSums
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.sums.centring import common_offset
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.quadrature import Quadrature, asymmetric_unit, cell_rotations

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles


def turns(name: str) -> Tensor:
    return torch.from_numpy(point_group(name)).float()


@pytest.mark.parametrize("name", ["C2", "C4", "D2", "D7", "T", "O", "I"])
@pytest.mark.parametrize("nside", [4, 8])
def test_a_unit_holds_one_of_all_mates(name: str, nside: int) -> None:
    group, rotations = turns(name), cell_rotations(nside)
    unit = asymmetric_unit(rotations, group)
    assert len(rotations) / len(unit) == pytest.approx(len(group), rel=0.06)
    # wherever a pose lies, one of its mates is near to a cell of the unit
    some = torch.from_numpy(random_rotations(50, np.random.default_rng(0))).float()
    mates = some[:, None] @ group
    trace = torch.einsum("ngij,uij->ngu", mates, rotations[unit]).amax((1, 2))
    assert (torch.rad2deg(((trace - 1) / 2).clamp(-1, 1).arccos()) < 90 / nside).all()


def test_without_symmetry_all_cells_are_summed_over() -> None:
    plain = Quadrature.at(32, 4, 6)
    assert Quadrature.at(32, 4, 6, group=turns("C1")).unit is None
    assert len(plain.unit_rotations) == len(plain.rotations)


def test_a_map_is_the_same_after_every_turn(particles: Particles, true_map: Tensor) -> None:
    group, rows = turns("D2"), torch.arange(24)
    points = Quadrature.at(32, 4, 6, group=group)
    white = torch.ones(len(points.model.frequencies))
    images = particles.observed(rows, points.model)
    total = ExactSum(points, grid_of_map(true_map), white)
    found = total.posteriors(images, collect=True)
    for sums in (*total.collected(), _at_one_pose(particles, rows, points, group)):
        inserted = sums.inserted
        half_turn_about_z = inserted.flip(-1, -2)
        half_turn_about_x = inserted.flip(-2, -3)
        assert torch.allclose(inserted, half_turn_about_z, atol=1e-3)
        assert torch.allclose(inserted, half_turn_about_x, atol=1e-3)
    # cells are told by their numbers among all
    assert points.unit is not None and torch.isin(found.cells, points.unit).all()


def _at_one_pose(particles: Particles, rows: Tensor, points: Quadrature, group: Tensor) -> MapSums:
    sums = MapSums(points.model, group)
    rotations = torch.from_numpy(random_rotations(len(rows), np.random.default_rng(0))).float()
    sums.add_images(particles.observed(rows, points.model), Poses.centred(rotations))
    return sums


def test_an_image_counts_once_whatever_its_mates(particles: Particles) -> None:
    points, rows = Quadrature.at(32, 4, 6), torch.arange(12)
    rotations = torch.from_numpy(random_rotations(12, np.random.default_rng(1))).float()
    images = particles.observed(rows, points.model)
    plain, symmetric = MapSums(points.model), MapSums(points.model, turns("C4"))
    for sums in (plain, symmetric):
        sums.add_images(images, Poses.centred(rotations))
    assert float(symmetric.inserted[1].sum()) == pytest.approx(float(plain.inserted[1].sum()), 1e-4)


def test_the_middle_of_a_symmetric_map_lies_on_its_axis() -> None:
    rng = np.random.default_rng(0)
    rotations = torch.from_numpy(random_rotations(400, rng)).float()
    offset = torch.tensor([1.0, -2.0, 3.0])
    shifts = (rotations @ offset)[:, :2]
    assert torch.allclose(common_offset(rotations, shifts), offset, atol=1e-3)
    on_axis = common_offset(rotations, shifts, turns("C4"))
    assert torch.allclose(on_axis[:2], torch.zeros(2), atol=1e-4)
    assert float(on_axis[2]) == pytest.approx(3, abs=0.3)
    nowhere = common_offset(rotations, shifts, turns("D2"))
    assert torch.allclose(nowhere, torch.zeros(3), atol=1e-4)


def test_distances_are_to_the_nearest_mate() -> None:
    group = turns("C4")
    pose = torch.from_numpy(random_rotations(1, np.random.default_rng(0))).float()
    assert float(angular_distance(pose, pose @ group[1])[0]) > 80
    assert float(angular_distance(pose, pose @ group[1], group)[0]) < 0.1
