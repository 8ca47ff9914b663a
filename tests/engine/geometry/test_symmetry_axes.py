"""The frame in which a map has a point group's axes, and how far it has the symmetry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.evaluation.fsc import fsc
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame, symmetry_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOX = 32


def assembly(group: NDArray[np.float64], seed: int = 0) -> NDArray[np.float32]:
    """Return a map of lumps with a symmetry, (D, D, D)."""
    rng = np.random.default_rng(seed)
    line = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    result = np.zeros((BOX,) * 3)
    for _ in range(8):
        place, height = rng.normal(0, 4, 3), rng.uniform(0.5, 2)
        for turn in group:
            at = turn @ place
            squared = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2
            result += height * np.exp(-squared / 4)
    return (result / result.std()).astype(np.float32)


@pytest.mark.parametrize("name", ["C2", "C4", "C7", "D2", "D7", "T", "O", "I"])
def test_the_axes_are_found_wherever_they_lie(name: str) -> None:
    group = point_group(name)
    rng = np.random.default_rng(len(name) + len(group))
    original = assembly(group)
    turned = SymmetryFrame(random_rotations(1, rng)[0], np.array([0.7, -0.4, 1.1]), 1.0)
    noisy = turned.turned(original) + rng.normal(0, 0.1, (BOX,) * 3).astype(np.float32)
    found = symmetry_frame(noisy, group)
    assert found.correlation > 0.9
    back = found.turned(noisy)
    for turn in group[1:]:
        again = SymmetryFrame(turn, np.zeros(3), 1.0).turned(back)
        assert fsc(again, back)[1:8].mean() > 0.9


@pytest.mark.parametrize(("name", "asked"), [("C1", "C2"), ("C2", "C4"), ("C4", "D2"), ("D2", "T")])
def test_a_map_without_the_symmetry_is_told(name: str, asked: str) -> None:
    assert symmetry_frame(assembly(point_group(name)), point_group(asked)).correlation < 0.8


def test_poses_are_turned_as_the_map_is() -> None:
    """A pose R of a map becomes R U in the frame: the same projection of the turned map."""
    group = point_group("C4")
    turn = random_rotations(1, np.random.default_rng(5))[0]
    turned = SymmetryFrame(turn, np.zeros(3), 1.0).turned(assembly(group))
    frame = symmetry_frame(turned, group)
    # the original map is turn applied to the turned one: up to the group, and its axis' direction
    together = turn @ frame.rotation
    flips = [together, together @ np.diag([1.0, -1.0, -1.0])]
    about_z = [np.abs(each[2, 2] - 1) for each in flips]
    assert min(about_z) < 0.01
    assert angular_distance(together @ together.T, np.eye(3)) < 1e-6
