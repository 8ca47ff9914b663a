from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.symmetry import point_group

# axes of RELION's point groups: fold, and (x, y, z)
GENERATORS = {
    "C5": [(5, (0, 0, 1))],
    "D3": [(3, (0, 0, 1)), (2, (1, 0, 0))],
    "T": [(3, (0, 0, 1)), (2, (0, 0.816496, 0.577350))],
    "O": [(3, (1, 1, 1)), (4, (0, 0, 1))],
    "I1": [(2, (1, 0, 0)), (5, (0.850651, 0, -0.525731)), (3, (0.934172, 0.356822, 0))],
    "I2": [(2, (0, 0, 1)), (5, (0.525731, 0, 0.850651)), (3, (0, 0.356822, 0.934172))],
}
ORDERS = {"C1": 1, "C5": 5, "D1": 2, "D3": 6, "T": 12, "O": 24, "I1": 60, "I2": 60, "I": 60}


def holds(group: np.ndarray, turn: np.ndarray) -> bool:
    return bool(np.abs(group - turn).max((1, 2)).min() < 1e-5)


@pytest.mark.parametrize("name", GENERATORS)
def test_axes_are_relions(name: str) -> None:
    group = point_group(name)
    for fold, axis in GENERATORS[name]:
        vector = np.array(axis) / np.linalg.norm(axis) * 2 * np.pi / fold
        assert holds(group, Rotation.from_rotvec(vector).as_matrix())


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_they_are_groups(name: str, order: int) -> None:
    group = point_group(name)
    assert len(group) == order
    assert holds(group, np.eye(3))
    assert all(holds(group, a @ b) for a in group[:7] for b in group)
    assert np.allclose(np.linalg.det(group), 1)


def test_names_are_relions() -> None:
    assert np.array_equal(point_group("I"), point_group("I2"))
    assert np.array_equal(point_group(" c4 "), point_group("C4"))
    for name in ("", "C", "C0", "C101", "D-1", "I5", "Q", "C4 D2"):
        with pytest.raises(InputError, match="There is no symmetry"):
            point_group(name)
