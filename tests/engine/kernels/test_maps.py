"""Several maps behind one slicer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.kernels import PosedImages, slicer, slicer_of
from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    from torch import Tensor

P = 12


@pytest.fixture
def posed() -> tuple[Tensor, PosedImages]:
    draw = torch.Generator().manual_seed(0)
    grids = torch.randn(3, 17, 17, 17, generator=draw)
    frequencies = ImageModel.within(16, 6).frequencies
    images, ctf = (torch.randn(5, len(frequencies), generator=draw) for _ in range(2))
    ctf = ctf[:, ::2].repeat_interleave(2, 1)
    rotations = torch.from_numpy(random_rotations(P, np.random.default_rng(0))).float()
    classes = torch.tensor([2, 0, 1, 1, 2, 0, 0, 2, 1, 2, 0, 1])
    poses = Poses(rotations, torch.randn(P, 2, generator=draw), classes)
    numbers = torch.randint(5, (P,), generator=draw)
    return grids, PosedImages(images, ctf, poses, frequencies, numbers)


def test_each_pose_is_compared_with_its_own_map(posed: tuple[Tensor, PosedImages]) -> None:
    grids, images = posed
    several, poses = slicer_of(grids), images.poses
    errors, power = several.errors(images)
    fit, slices = several.fit(images), several.at(poses, images.frequencies)
    total = torch.zeros_like(power)
    for place in range(P):
        own = slicer(grids[poses.classes[place]])
        one = PosedImages(
            images.observed,
            images.ctf,
            poses[place : place + 1],
            images.frequencies,
            images.numbers[place : place + 1],
        )
        error, of_one = own.errors(one)
        alone = own.fit(one)
        assert torch.allclose(errors[place], error[0], rtol=1e-4)
        assert torch.allclose(fit.gradient[place], alone.gradient[0], rtol=1e-3, atol=1e-4)
        assert torch.allclose(fit.normal[place], alone.normal[0], rtol=1e-3, atol=1e-3)
        read = own.slices(poses.rotations[place : place + 1], images.frequencies)
        assert torch.allclose(slices[place], read[0], atol=1e-5)
        total += of_one
    assert torch.allclose(power, total, rtol=1e-3)


def test_a_map_without_poses_has_no_part(posed: tuple[Tensor, PosedImages]) -> None:
    grids, images = posed
    several = slicer_of(grids)
    nobody = images.poses[:0]
    none = PosedImages(images.observed, images.ctf, nobody, images.frequencies, images.numbers[:0])
    assert len(several.errors(none)[0]) == 0 and len(several.fit(none).errors) == 0
    with pytest.raises(TypeError):
        several.slices(images.poses.rotations, images.frequencies)


def test_one_map_needs_no_classes(posed: tuple[Tensor, PosedImages]) -> None:
    grids, _ = posed
    assert type(slicer_of(grids[:1])) is type(slicer(grids[0]))
