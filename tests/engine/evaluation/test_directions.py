"""How evenly a map is known in all directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.evaluation.directions import (
    Directions,
    cone_directions,
    conical_fsc,
    sampling_factor,
    sampling_of,
)
from napari_cryospin.engine.evaluation.fsc import fsc
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.kernels import PosedImages, inserter
from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import map_of_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOX, N = 32, 1500


def test_cones_are_all_around() -> None:
    directions = cone_directions()
    assert len(directions) == 96
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1)
    # nothing is further from all axes than half a cone
    points = np.random.default_rng(0).standard_normal((500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert np.abs(points @ directions.T).max(1).min() > np.cos(np.radians(20))


def test_cones_of_equal_and_of_foreign_maps() -> None:
    noise = np.random.default_rng(0).standard_normal((2, BOX, BOX, BOX)).astype("f4")
    assert conical_fsc(noise[0], noise[0]) == pytest.approx(1)
    assert abs(conical_fsc(*noise)[:, 6:].mean()) < 0.02


def test_a_cone_sees_what_is_along_it() -> None:
    """Two maps agree but for the frequencies near z."""
    random = np.random.default_rng(1)
    same, other = (np.fft.fftn(random.standard_normal((BOX, BOX, BOX))) for _ in range(2))
    k = np.fft.fftfreq(BOX, 1 / BOX)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    near = np.abs(k)[:, None, None] > np.cos(np.radians(40)) * radius
    one, two = (np.fft.ifftn(each).real for each in (same, np.where(near, other, same)))
    ratios = conical_fsc(one.astype("f4"), two.astype("f4"))[:, 4:].mean(1)
    along = np.abs(cone_directions()[:, 2])
    assert ratios[along > 0.95].max() < 0.1
    assert ratios[along < 0.3].min() > 0.95


@pytest.mark.parametrize("radius", [8, 16])
def test_sampling_is_as_published(radius: float) -> None:
    random = np.random.default_rng(0)
    even = random.standard_normal((5000, 3))
    even /= np.linalg.norm(even, axis=1, keepdims=True)
    assert sampling_factor(even, radius) > 0.98
    # side views alone: 8/π²
    turn = random.uniform(0, 2 * np.pi, 5000)
    side = np.stack((np.cos(turn), np.sin(turn), 0 * turn), 1)
    assert sampling_factor(side, radius) == pytest.approx(8 / np.pi**2, abs=0.015)
    assert sampling_factor(np.tile([0.0, 0, 1], (5000, 1)), radius) < 0.02


def test_the_mates_of_a_symmetric_map_are_views_as_well() -> None:
    along_z = np.tile(np.eye(3), (100, 1, 1))
    # from above, below and four sides, each by four of the 24 mates
    six = np.tile(np.concatenate((np.eye(3), -np.eye(3))), (400, 1))
    found = sampling_of(along_z, point_group("O"), 32)
    assert found == pytest.approx(sampling_factor(six, 8.0), rel=0.01)


def test_preferred_orientation_is_told_from_even_views() -> None:
    even = random_rotations(N, np.random.default_rng(0))
    assert not known(even).limited
    # views from within 25° of one direction
    cap = random_rotations(20 * N, np.random.default_rng(2))
    cap = cap[np.arccos(np.clip(cap[:, 2, 2], -1, 1)) < np.radians(25)][:N]
    assert len(cap) > N // 3
    found = known(cap)
    assert found.limited
    assert found.ratio < 0.5 and found.sampling < 0.1


def known(rotations: NDArray[np.float64]) -> Directions:
    """Return how evenly a map is known that noisy projections at rotations make, at these."""
    truth = torch.from_numpy(procedural_molecule(box=BOX, pixel_size=4.0)).float()
    model = ImageModel.within(BOX, BOX / 2)
    poses = torch.from_numpy(rotations).float()
    slices = Projector(truth).slices(poses, model.frequencies)
    noise = torch.randn(slices.shape, generator=torch.Generator().manual_seed(0))
    seen = slices + 3 * slices.std() * noise
    maps = []
    for half in (0, 1):
        sums = inserter(BOX, torch.device("cpu"))
        own = Poses(poses[half::2], torch.zeros(len(poses[half::2]), 2))
        ones = torch.ones_like(seen[half::2])
        sums.add_images(PosedImages(seen[half::2], ones, own, model.frequencies))
        maps.append(map_of_grid(divide(sums.total())).numpy())
    assert fsc(*maps)[3] > 0.5
    return Directions.of(maps[0], maps[1], rotations, np.eye(3)[None])
