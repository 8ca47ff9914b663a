"""Turns that leave a map as it is: found from modes, closed to a group, named."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.evaluation.alignment import PoseAlignment, apply_alignment
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.judging.mates import closed, find_mates, frequent_turns


@pytest.mark.parametrize("name", ["C2", "C3", "C4", "C7", "D2", "D3", "D4", "D6", "T", "O", "I1"])
def test_groups_are_made_of_some_of_their_turns(name: str) -> None:
    group = point_group(name)
    frame = random_rotations(1, np.random.default_rng(0))[0]
    turns = [frame @ turn @ frame.T for turn in group if angular_distance(turn, np.eye(3)) > 1]
    found = closed(turns[::2])
    assert len(found) == len(group)


def test_no_turns_are_the_identity_alone() -> None:
    assert len(closed([])) == 1


def modes_of(group: np.ndarray, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return modes at mates, a little off, the second half of them of no weight."""
    rng = np.random.default_rng(1)
    poses = random_rotations(n, rng)
    picked = np.stack([rng.permutation(len(group))[:2] for _ in range(n)])
    off = Rotation.from_rotvec(rng.normal(0, 3, (n * 2, 3)), degrees=True).as_matrix()
    mates = off.reshape(n, 2, 3, 3) @ poses[:, None] @ group[picked]
    others = random_rotations(n * 2, rng).reshape(n, 2, 3, 3)
    weights = np.tile([0.5, 0.4, 0.1, 0.0], (n, 1))
    return np.concatenate((mates, others), 1), weights


def test_frequent_turns_are_those_of_the_group() -> None:
    group = point_group("C4")
    found = frequent_turns(*modes_of(group))
    assert len(found) == 3
    for turn in found:
        assert angular_distance(group, turn).min() < 3


def test_random_modes_have_no_frequent_turns() -> None:
    poses = random_rotations(400, np.random.default_rng(2)).reshape(100, 4, 3, 3)
    assert frequent_turns(poses, np.full((100, 4), 0.25)) == []


def symmetric_map(group: np.ndarray) -> np.ndarray:
    volume = procedural_molecule(box=32, pixel_size=4.0)
    zero = np.zeros(1)
    return sum(apply_alignment(volume, PoseAlignment(turn, False, zero)) for turn in group)


def test_a_symmetric_map_has_the_mates_of_its_group() -> None:
    volume = symmetric_map(point_group("C3"))
    rng = np.random.default_rng(3)
    spread = 0.05 * volume.std()
    one, two = ((volume + rng.normal(0, spread, volume.shape)).astype(np.float32) for _ in range(2))
    found = find_mates(*modes_of(point_group("C3")), (one, two))
    assert len(found.turns) == 3
    assert found.alike > 0.95


def test_a_map_without_symmetry_has_no_mates() -> None:
    """Though particles hesitate between two poses, the map after the turn is another one."""
    volume = procedural_molecule(box=32, pixel_size=4.0)
    found = find_mates(*modes_of(point_group("C2")), (volume, volume))
    assert len(found.turns) == 1
    assert found.tried is not None
    assert found.tried < 0.8
