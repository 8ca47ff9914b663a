from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.geometry.hand import mirrored_map, mirrored_poses
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import grid_of_map


def test_mirrored_poses_see_in_the_mirrored_map_what_poses_see_in_the_map() -> None:
    volume = procedural_molecule(32, 4.0)
    poses = random_rotations(5, np.random.default_rng(0))
    model = ImageModel.within(32, 10)

    def project(volume: np.ndarray, poses: np.ndarray) -> torch.Tensor:
        rotations = torch.from_numpy(poses).float()
        return model.project(grid_of_map(torch.from_numpy(volume)), Poses.centred(rotations))

    seen = project(volume, poses)
    again = project(mirrored_map(volume), mirrored_poses(poses))
    torch.testing.assert_close(again, seen, rtol=0, atol=1e-3 * float(seen.abs().max()))
    assert not torch.allclose(project(volume, mirrored_poses(poses)), seen, atol=0.1)


@pytest.mark.parametrize("side", [6, 7])
def test_mirroring_twice_changes_nothing(side: int) -> None:
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(side,) * 3).astype(np.float32)
    np.testing.assert_array_equal(mirrored_map(mirrored_map(volume)), volume)
    # the origin stays where it is
    np.testing.assert_array_equal(mirrored_map(volume)[side // 2], volume[side // 2])
    poses = random_rotations(3, rng)
    np.testing.assert_allclose(mirrored_poses(mirrored_poses(poses)), poses, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(mirrored_poses(poses)), 1)
