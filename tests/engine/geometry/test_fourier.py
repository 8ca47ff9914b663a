from __future__ import annotations

import pytest
import torch

from napari_cryospin.engine.geometry.fourier import (
    disk,
    disk_index,
    hartley_2d,
    hartley_grid_from_map,
    interpolation_window,
    inverse_hartley_2d,
    map_from_hartley_grid,
)
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.slices import central_slices, insert_slices
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import grid_of_map, map_of_grid


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_hartley_transform_is_its_own_inverse_and_keeps_noise_white() -> None:
    images = torch.randn(200, 32, 32, dtype=torch.float64)
    spectrum = hartley_2d(images)
    assert torch.allclose(inverse_hartley_2d(spectrum), images)
    power = spectrum.square().mean().item()
    assert power == pytest.approx(images.square().mean().item(), rel=1e-9)


def test_maps_come_back_from_their_grid() -> None:
    volume = torch.randn(16, 16, 16, dtype=torch.float64)
    assert torch.allclose(map_from_hartley_grid(hartley_grid_from_map(volume)), volume)
    assert torch.allclose(map_of_grid(grid_of_map(volume)), volume)


def test_the_central_slice_is_the_projection() -> None:
    volume = torch.randn(16, 16, 16, dtype=torch.float64)
    model = ImageModel.within(16, 8)
    identity = torch.eye(3, dtype=torch.float64)[None]
    frequencies = model.frequencies.double()
    slices = central_slices(hartley_grid_from_map(volume), identity, frequencies)
    assert torch.allclose(slices[0], model.coefficients(volume.sum(0)))


def test_of_no_images_there_are_no_coefficients() -> None:
    model = ImageModel.within(16, 8)
    assert model.coefficients(torch.zeros(0, 16, 16)).shape == (0, len(model.frequencies))


def test_small_disks_begin_large_ones_and_hold_opposites() -> None:
    large, small = disk(32, 15), disk(32, 6)
    assert torch.equal(large[: len(small)].norm(dim=1), small.norm(dim=1))
    assert torch.equal(small[1::2], -small[::2])
    assert len(set(disk_index(small, 32).tolist())) == len(small)


@pytest.mark.parametrize("shift", [(3, -2), (0, 5), (-7, 0)])
def test_shift_moves_the_content(shift: tuple[int, int]) -> None:
    model = ImageModel.within(32, 16)
    coefficients = model.coefficients(torch.randn(1, 32, 32))
    moved = model.images(model.shift(coefficients, torch.tensor([shift]).float()))
    expected = torch.roll(model.images(coefficients), (shift[1], shift[0]), (1, 2))
    assert torch.allclose(moved, expected, atol=1e-4)


def test_origin_shifts_are_undone_by_shifting_the_image() -> None:
    model = ImageModel.within(32, 16)
    grid, rotation = torch.randn(33, 33, 33), torch.eye(3)[None]
    origin = torch.tensor([[2.5, -1.25]])
    observed = model.project(grid, Poses(rotation, origin))
    assert torch.allclose(
        model.shift(observed, origin), model.project(grid, Poses.centred(rotation)), atol=1e-4
    )


def test_inserting_is_the_transpose_of_slicing() -> None:
    rotations = torch.linalg.qr(torch.randn(5, 3, 3, dtype=torch.float64)).Q
    frequencies = disk(16, 7).double()
    grid = torch.randn(2, 17, 17, 17, dtype=torch.float64)
    values = torch.randn(2, 5, len(frequencies), dtype=torch.float64)
    sliced = (central_slices(grid, rotations, frequencies) * values).sum()
    inserted = insert_slices(values, rotations, frequencies, 16)
    assert torch.allclose((inserted * grid).sum(), sliced)


def test_slices_have_right_gradients() -> None:
    rotations = torch.linalg.qr(torch.randn(2, 3, 3, dtype=torch.float64)).Q.requires_grad_()
    grid = torch.randn(9, 9, 9, dtype=torch.float64, requires_grad=True)
    frequencies = disk(8, 3).double()
    assert torch.autograd.gradcheck(
        lambda g, r: central_slices(g, r, frequencies), (grid, rotations)
    )


def test_the_window_is_what_interpolation_does() -> None:
    # a point source off the centre: its interpolated slices are dimmer by the window at its place
    volume = torch.zeros(32, 32, 32)
    volume[16, 16, 25] = 1
    turn = torch.tensor([[[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]])
    model = ImageModel.within(32, 16)
    plain = model.project(hartley_grid_from_map(volume), Poses.centred(turn))
    corrected = model.project(grid_of_map(volume), Poses.centred(turn))
    assert torch.allclose(plain / interpolation_window(32)[16, 16, 25], corrected, atol=1e-4)
