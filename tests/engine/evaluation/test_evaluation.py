from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.alignment import (
    PoseAlignment,
    align_rotations,
    apply_alignment,
    refine_map_alignment,
)
from napari_cryospin.engine.evaluation.fsc import crossing_shell, fsc, resolution
from napari_cryospin.engine.evaluation.report import evaluate
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations
from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    from pathlib import Path

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


def test_fsc_of_a_map_with_itself_and_with_noise() -> None:
    volume, noise = blob(), np.random.default_rng(1).normal(size=(32,) * 3)
    assert np.allclose(fsc(volume, 3 * volume), 1)
    assert abs(fsc(noise, volume)[4:]).max() < 0.3
    with pytest.raises(ValueError, match="one shape"):
        fsc(volume, volume[:16, :16, :16])


def test_resolution_is_where_the_curve_first_falls() -> None:
    curve = [1, 1, 0.9, 0.7, 0.3, 0.6, 0.1]
    assert crossing_shell(curve, 0.5) == pytest.approx(3.5)
    # 6 shells to Nyquist at 2 Å per pixel: shell 3.5 is at 2·6·2/3.5 Å
    assert resolution(curve, 2.0, 0.5) == pytest.approx(24 / 3.5)
    assert resolution(np.ones(7), 2.0, 0.5) == 4.0


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


def test_the_truth_has_no_error(small_stack: Path, tmp_path: Path) -> None:
    star, truth_map = small_stack / "truth.star", small_stack / "truth.mrc"
    found = evaluate(star, truth_map, star, truth_map)
    assert found.median_pose_error_deg == pytest.approx(0, abs=1e-3)
    assert found.fsc_fraction_of_nyquist == 1
    assert found.resolution_angstrom == pytest.approx(8.0)
    assert found.hand == "same"


def test_the_mirror_image_is_known_as_such(small_stack: Path, tmp_path: Path) -> None:
    import mrcfile

    table = read_star(small_stack / "truth.star")
    volume, pixel_size = read_map(small_stack / "truth.mrc")
    flipped = np.roll(volume[::-1], 1, axis=0)
    with mrcfile.new(tmp_path / "map.mrc") as mrc:
        mrc.set_data(np.ascontiguousarray(flipped))
        mrc.voxel_size = pixel_size
    rows = np.arange(table.n_particles)
    mirrored = MIRROR @ table.rotations @ MIRROR
    write_star(tmp_path / "p.star", table, rows, rotations=mirrored, shifts=table.shifts)
    found = evaluate(
        tmp_path / "p.star",
        tmp_path / "map.mrc",
        small_stack / "truth.star",
        small_stack / "truth.mrc",
    )
    assert found.hand == "mirrored"
    assert found.median_pose_error_deg == pytest.approx(0, abs=1e-3)
    assert found.fsc_fraction_of_nyquist > 0.95


def test_a_missing_file_is_told(small_stack: Path, tmp_path: Path) -> None:
    star, truth_map = small_stack / "truth.star", small_stack / "truth.mrc"
    with pytest.raises(InputError, match="has the run ended"):
        evaluate(tmp_path / "particles.star", truth_map, star, truth_map)
