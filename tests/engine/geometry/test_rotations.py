from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_cryospin.engine.geometry.euler import euler_from_matrices, matrices_from_euler
from napari_cryospin.engine.geometry.rotations import (
    angular_distance,
    exponential_map,
    random_rotations,
    rotation_from_6d,
    skew,
)


def test_euler_angles_come_back() -> None:
    rng = np.random.default_rng(0)
    angles = rng.random((50, 3)) * [360, 178, 360] - [180, -1, 180]
    assert np.allclose(euler_from_matrices(matrices_from_euler(angles)), angles)


def test_euler_matrix_is_relions() -> None:
    # Euler_angles2matrix of RELION: rows of A(rot, 0, psi) turn the image by rot + psi
    matrix = matrices_from_euler([30.0, 0.0, 15.0])
    c, s = np.cos(np.radians(45)), np.sin(np.radians(45))
    assert np.allclose(matrix, [[c, s, 0], [-s, c, 0], [0, 0, 1]])
    # the view direction of (rot, tilt) is the third row
    view = matrices_from_euler([90.0, 30.0, 77.0])[2]
    assert np.allclose(view, [0, np.sin(np.radians(30)), np.cos(np.radians(30))])


def test_exponential_map_is_the_matrix_exponential() -> None:
    omega = torch.randn(20, 3, dtype=torch.float64)
    assert torch.allclose(exponential_map(omega), torch.linalg.matrix_exp(skew(omega)))


@pytest.mark.parametrize("size", [0.0, 1e-9, 9e-3, 1.1e-2, 1.0, 3.0])
def test_exponential_map_has_right_gradients_everywhere(size: float) -> None:
    omega = size * torch.tensor([[0.6, -0.64, 0.48]], dtype=torch.float64)
    assert torch.autograd.gradcheck(exponential_map, omega.requires_grad_())


def test_exponential_map_is_smooth_where_the_series_ends() -> None:
    direction = torch.tensor([0.6, -0.64, 0.48], dtype=torch.float64)
    below, above = (exponential_map(s * direction) for s in (0.01 - 1e-12, 0.01 + 1e-12))
    assert torch.allclose(below, above, atol=1e-11)


def test_rotation_from_6d_gives_rotations_with_the_first_vector_first() -> None:
    vectors = torch.randn(100, 6, dtype=torch.float64)
    rotations = rotation_from_6d(vectors)
    identity = torch.eye(3, dtype=torch.float64).expand(100, 3, 3)
    assert torch.allclose(rotations @ rotations.mT, identity, atol=1e-12)
    assert torch.allclose(torch.linalg.det(rotations), torch.ones(100, dtype=torch.float64))
    first = torch.nn.functional.normalize(vectors[:, :3], dim=1)
    assert torch.allclose(rotations[:, :, 0], first)
    # the third column lies in the plane of both vectors, on the side of the second
    assert ((rotations[:, :, 2] * vectors[:, 3:]).sum(1) > 0).all()
    assert torch.allclose((rotations[:, :, 1] * vectors[:, 3:]).sum(1), torch.zeros(100).double())


@pytest.mark.parametrize("angle", [1e-6, 0.01, 1.0, 90.0, 179.999])
def test_angular_distance(angle: float) -> None:
    axis = torch.tensor([1.0, 2.0, -2.0], dtype=torch.float64) / 3
    turn = exponential_map(np.radians(angle) * axis).numpy()
    start = random_rotations(1, np.random.default_rng(1))[0]
    assert angular_distance(turn @ start, start) == pytest.approx(angle, rel=1e-6)


def test_random_rotations_are_uniform() -> None:
    views = random_rotations(20_000, np.random.default_rng(2))[:, 2]
    # each component of a uniform direction has mean 0 and variance 1/3
    assert np.allclose(views.mean(0), 0, atol=0.02)
    assert np.allclose(views.var(0), 1 / 3, atol=0.01)
