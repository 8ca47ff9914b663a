"""The closed-form map of images with known poses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.data.image_store import InMemory
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.particles import Particles
from napari_cryospin.engine.evaluation.fsc import fsc
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.geometry.slices import insert_slices
from napari_cryospin.engine.judging.halves import back_project
from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.state.pose_table import PoseTable

if TYPE_CHECKING:
    from torch import Tensor


def test_back_projection_of_clean_images_gives_their_map_back() -> None:
    volume = torch.from_numpy(procedural_molecule(box=32, pixel_size=4.0))
    model = ImageModel.within(32, 16)
    rotations = torch.from_numpy(random_rotations(3000, np.random.default_rng(0))).float()
    slices = Projector(volume).slices(rotations, model.frequencies)
    sums = insert_slices(
        torch.stack((slices, torch.ones_like(slices))), rotations, model.frequencies, 32
    )
    found = map_of_grid(divide(sums, torch.full((17,), 1e-3)))
    curve = fsc(found.numpy(), volume.numpy())
    assert curve[1:15].min() > 0.98
    # the images hold no frequency 0: the mean of the map is free
    slope, _ = np.polyfit(volume.flatten(), found.flatten(), 1)
    assert abs(slope - 1) < 0.05


def test_the_map_does_not_fade_towards_its_edge() -> None:
    """Interpolation dims a map from its centre outwards; the closed form takes that back."""
    volume = torch.zeros(32, 32, 32)
    volume[16, 16, 4] = volume[16, 16, 16] = volume[16, 28, 16] = 1.0
    model = ImageModel.within(32, 16)
    rotations = torch.from_numpy(random_rotations(3000, np.random.default_rng(0))).float()
    slices = Projector(volume).slices(rotations, model.frequencies)
    sums = insert_slices(
        torch.stack((slices, torch.ones_like(slices))), rotations, model.frequencies, 32
    )
    found = map_of_grid(divide(sums, torch.full((17,), 1e-3)))
    centre = found[16, 16, 16]
    assert abs(found[16, 16, 4] / centre - 1) < 0.1
    assert abs(found[16, 28, 16] / centre - 1) < 0.1


def test_a_brighter_particle_makes_the_same_map() -> None:
    """Its scale is part of the model of its image."""
    images = torch.randn(20, 32, 32, generator=torch.Generator().manual_seed(0))
    poses = PoseTable.empty(20, 1, torch.device("cpu"))
    poses.rotations = torch.from_numpy(random_rotations(20, np.random.default_rng(0))).float()
    model, rows = ImageModel.within(32, 16), torch.arange(20)
    maps = []
    for scale in (1.0, 2.0):
        poses.scales[:] = scale
        maps.append(divide(back_project(plain_stack(scale * images), poses, rows, model)))
    assert torch.allclose(*maps, atol=1e-4)


def plain_stack(images: Tensor) -> Particles:
    """Particles without a CTF."""
    table, rows = SimpleNamespace(), np.arange(len(images))
    return Particles(table, rows, InMemory(images), 1.0, None, 1.0, ())
