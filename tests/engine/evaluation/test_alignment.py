from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, zoom
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.evaluation.alignment import (
    PoseAlignment,
    align_rotations,
    apply_alignment,
    refine_map_alignment,
)
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIRROR = np.diag([1.0, 1.0, -1.0])
NONE = np.zeros(1)


def blob() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    inside = np.linalg.norm(np.indices((32,) * 3) - 16, axis=0) < 9
    return gaussian_filter(rng.normal(size=(32,) * 3) * inside, 1.5).astype(np.float32)


def projections(volume: NDArray[np.float32], rotations: NDArray[np.float64]) -> NDArray[np.float32]:
    model = ImageModel.within(32, 16)
    slices = Projector(torch.from_numpy(volume)).slices(
        torch.from_numpy(rotations).float(), model.frequencies
    )
    return model.images(slices).numpy()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("outliers", [0.0, 0.6])
def test_alignment_finds_rotation_and_hand(mirrored: bool, outliers: float) -> None:
    rng = np.random.default_rng(2)
    truth, unknown = random_rotations(3000, rng), random_rotations(1, rng)[0]
    estimated = truth @ unknown.T
    if mirrored:
        estimated = MIRROR @ estimated @ MIRROR
    jitter = Rotation.from_rotvec(rng.normal(0, 2, (3000, 3)), degrees=True).as_matrix()
    estimated = jitter @ estimated
    wrong = rng.random(3000) < outliers
    estimated[wrong] = random_rotations(int(wrong.sum()), rng)
    found = align_rotations(estimated, truth)
    assert found.mirrored == mirrored
    assert angular_distance(found.rotation, unknown) < 0.5
    assert np.allclose(found.undo(found.apply(estimated)), estimated)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("name", ["C4", "D2", "T"])
def test_mates_of_a_symmetric_map_are_as_good_as_the_truth(name: str, mirrored: bool) -> None:
    rng = np.random.default_rng(3)
    group = point_group(name)
    truth, unknown = random_rotations(500, rng), random_rotations(1, rng)[0]
    jitter = Rotation.from_rotvec(rng.normal(0, 2, (500, 3)), degrees=True).as_matrix()
    estimated = jitter @ truth @ group[rng.integers(len(group), size=500)] @ unknown.T
    if mirrored:
        estimated = MIRROR @ estimated @ MIRROR
    found = align_rotations(estimated, truth, group)
    assert found.mirrored == mirrored
    assert found.mean == pytest.approx(2 * np.sqrt(8 / np.pi), rel=0.1)
    assert angular_distance(unknown, found.rotation @ group).min() < 0.5
    assert align_rotations(estimated, truth).mean > 40


@pytest.mark.parametrize("mirrored", [False, True])
def test_aligned_maps_have_aligned_projections(mirrored: bool) -> None:
    rng = np.random.default_rng(3)
    volume, estimated = blob(), random_rotations(10, rng)
    alignment = PoseAlignment(random_rotations(1, rng)[0], mirrored, NONE)
    aligned = apply_alignment(volume, alignment)
    ours, theirs = projections(volume, estimated), projections(aligned, alignment.apply(estimated))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


def test_map_alignment_is_refined() -> None:
    volume = blob()
    off = PoseAlignment(Rotation.from_rotvec([4, 3, -2], degrees=True).as_matrix(), False, NONE)
    refined, shift = refine_map_alignment(volume, volume, off)
    assert angular_distance(refined.rotation, np.eye(3)) < 0.3
    assert np.allclose(shift, 0, atol=0.1)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turn", [(1.5, -1, 2), (4, 3, -2), (-3, 2, 4)])
def test_refinement_ends_at_the_optimum(mirrored: bool, turn: tuple[float, ...]) -> None:
    volume, rotation = blob(), random_rotations(1, np.random.default_rng(4))[0]
    shift = (0.7, -1.2, 0.4)
    truth = apply_alignment(volume, PoseAlignment(rotation, mirrored, NONE), shift)
    off = rotation @ Rotation.from_rotvec(turn, degrees=True).as_matrix()
    refined, found = refine_map_alignment(volume, truth, PoseAlignment(off, mirrored, NONE))
    assert angular_distance(refined.rotation, rotation) < 0.1
    assert np.allclose(found, shift, atol=0.05)


def test_the_shift_of_a_large_map_is_in_its_own_voxels() -> None:
    volume = zoom(blob(), 2, order=3)
    moved = np.roll(volume, (2, 0, -1), axis=(0, 1, 2))
    off = PoseAlignment(Rotation.from_rotvec([2, 1, -1], degrees=True).as_matrix(), False, NONE)
    refined, shift = refine_map_alignment(volume, moved, off)
    assert angular_distance(refined.rotation, np.eye(3)) < 0.3
    assert np.allclose(shift, (-1, 0, 2), atol=0.1)
