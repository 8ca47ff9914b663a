"""How far two starts agree, modulo a group whose axes lie where the map was turned to later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.judging.evidence import Judgement
from napari_cryospin.engine.run.agreement import agreement
from napari_cryospin.engine.run.starts import Start

N = 300


def start(rotations: np.ndarray, gain: float) -> Start:
    gains = gain + torch.arange(40) % 3
    nothing = torch.zeros(40, 4)
    judged = Judgement(torch.arange(40), gains, gains, nothing[..., None, None], nothing)
    return Start({}, {}, {}, judged, torch.from_numpy(rotations[:, None]).float())


@pytest.mark.parametrize("name", ["C2", "D7", "O"])
def test_starts_agree_modulo_axes_that_were_found_later(name: str) -> None:
    rng = np.random.default_rng(0)
    group = point_group(name)
    truth, (axes, other) = random_rotations(N, rng), random_rotations(2, rng)
    off = Rotation.from_rotvec(rng.normal(0, 2, (N, 3)), degrees=True).as_matrix()
    # each start has its map as it comes, and every particle at any of its mates
    first = truth @ group[rng.integers(len(group), size=N)] @ axes
    second = off @ truth @ group[rng.integers(len(group), size=N)] @ other
    present = torch.from_numpy(truth @ group[rng.integers(len(group), size=N)]).float()
    starts = [start(first, 20.0), start(second, 19.0)]
    found, _ = agreement(starts, group, None, present)
    assert found is not None and found > 0.98
    wrong, _ = agreement(starts, group)
    assert wrong is not None and wrong < found


def test_starts_that_came_to_other_poses_do_not_agree() -> None:
    rng = np.random.default_rng(1)
    truth = random_rotations(N, rng)
    starts = [start(truth, 20.0), start(random_rotations(N, rng), 19.0)]
    found, _ = agreement(starts, point_group("C4"), None, torch.from_numpy(truth).float())
    assert found is not None and found < 0.5


def test_poses_of_other_classes_are_in_other_frames() -> None:
    rng = np.random.default_rng(5)
    truth, turn = random_rotations(N, rng), random_rotations(1, rng)[0]
    # the other start has put a third of the particles into a class with a frame of its own
    classes = torch.arange(N) % 3 == 0
    other = np.where(classes.numpy()[:, None, None], truth @ turn, truth)
    starts = [start(truth, 20.0), replace(start(other, 19.0), classes=classes.long())]
    assert agreement(starts)[0] == 1.0
    assert agreement([starts[0], replace(starts[1], classes=None)])[0] < 0.8
