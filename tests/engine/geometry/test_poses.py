from __future__ import annotations

import numpy as np
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import exponential_map, random_rotations


def test_a_step_turns_from_the_left_and_moves() -> None:
    poses = Poses.centred(torch.from_numpy(random_rotations(5, np.random.default_rng(0))))
    step = 0.1 * torch.randn(5, 5, dtype=torch.double)
    moved = poses.moved(step)
    assert torch.allclose(moved.rotations, exponential_map(step[:, :3]) @ poses.rotations)
    assert torch.equal(moved.shifts, step[:, 3:])


def test_after_thousands_of_steps_it_is_still_a_rotation() -> None:
    rotations = torch.from_numpy(random_rotations(20, np.random.default_rng(0))).float()
    poses = Poses.centred(rotations)
    step = torch.zeros(20, 5)
    step[:, :3] = 6e-4
    for _ in range(3000):
        poses = poses.moved(step)
    off = poses.rotations @ poses.rotations.mT - torch.eye(3)
    assert float(off.abs().max()) < 2e-6
