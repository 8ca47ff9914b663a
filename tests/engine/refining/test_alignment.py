"""Aligning particles with a map that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance, exponential_map
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.refining.alignment import Alignment

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles


@pytest.mark.parametrize("shifted", [False, True])
def test_poses_a_little_off_are_refined(
    particles: Particles, true_map: Tensor, true_rotations: Tensor, shifted: bool
) -> None:
    torch.manual_seed(0)
    near = exponential_map(0.1 * torch.randn(particles.n, 3)) @ true_rotations
    model = ImageModel.within(32, 16)
    everyone = particles.observed(torch.arange(particles.n), model)
    aligned = Alignment(model, slicer(grid_of_map(true_map)), everyone, shifted=shifted)
    off = Poses(near, 0.3 * torch.randn(particles.n, 2) * shifted)
    found = aligned.refine(off)
    before = angular_distance(near.numpy(), true_rotations.numpy())
    after = angular_distance(found.poses.rotations.numpy(), true_rotations.numpy())
    assert np.median(before) > 7
    assert np.median(after) < 3
    assert (found.errors <= found.first_errors).all()
    assert torch.allclose(found.first_errors, aligned.errors(off))
    assert torch.allclose(found.errors, aligned.errors(found.poses), atol=1e-5)
    assert bool((found.poses.shifts != off.shifts).any()) == shifted
    # no pose nearby is better
    again = aligned.refine(found.poses)
    nats = (found.errors - again.errors) * len(model.frequencies) / 2
    assert float(nats.quantile(0.9)) < 0.1
