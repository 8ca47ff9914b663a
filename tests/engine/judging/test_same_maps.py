"""Whether two maps show one structure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.judging.same_maps import SAME, likeness


def turned(volume: np.ndarray, seed: int) -> np.ndarray:
    matrix, middle = Rotation.random(random_state=seed).as_matrix(), np.full(3, 16.0)
    return affine_transform(volume, matrix, middle - matrix @ (middle + 0.4), order=3)


@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_moved_and_mirrored_it_is_the_same(mirrored: bool) -> None:
    volume = procedural_molecule(32, 8.0).astype(np.float32)
    other = turned(volume, 1)
    noise = np.random.default_rng(0).normal(size=volume.shape) * 0.3 * volume.std()
    other = (other[:, :, ::-1] if mirrored else other) + noise
    assert likeness(volume, np.ascontiguousarray(other, np.float32)) > SAME


def test_another_structure_is_not() -> None:
    volume = procedural_molecule(32, 8.0).astype(np.float32)
    # a half of it is another molecule
    other = turned(volume, 1)
    other[16:] = turned(volume, 2)[16:]
    assert likeness(volume, other) < SAME
    assert likeness(volume, np.zeros_like(volume)) < SAME
