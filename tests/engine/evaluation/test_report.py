from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.report import Evaluation, evaluate

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

MIRROR = np.diag([1.0, 1.0, -1.0])


def compare(
    stack: Path,
    star: Path,
    rotations: ArrayLike,
    *,
    shifts: ArrayLike | None = None,
    rows: ArrayLike | None = None,
    names: list[str] | None = None,
) -> Evaluation:
    """Evaluate poses of a simulated stack, written to ``star``, with the true map."""
    table = read_star(stack / "truth.star")
    rows = np.arange(table.n_particles) if rows is None else np.asarray(rows)
    write_star(star, table, rows, rotations=rotations, shifts=shifts, image_names=names)
    truth_map = stack / "truth.mrc"
    return evaluate(star, truth_map, stack / "truth.star", truth_map)


def test_the_truth_has_no_error(small_stack: Path) -> None:
    star, truth_map = small_stack / "truth.star", small_stack / "truth.mrc"
    found = evaluate(star, truth_map, star, truth_map)
    assert found.n_particles == 200
    assert found.median_pose_error_deg == pytest.approx(0, abs=1e-3)
    assert found.median_shift_error_angstrom is None
    assert found.fsc_fraction_of_nyquist == 1
    assert found.resolution_angstrom == pytest.approx(8.0)
    assert found.hand == "same"
    assert found.figures()["fsc_0.5_fraction_of_nyquist"] == 1


def test_the_mirror_image_is_known_as_such(small_stack: Path, tmp_path: Path) -> None:
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


def test_pose_errors_are_measured(small_stack: Path, tmp_path: Path) -> None:
    table = read_star(small_stack / "truth.star")
    axes = np.random.default_rng(0).normal(size=(200, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    off = Rotation.from_rotvec(5 * axes, degrees=True).as_matrix() @ table.rotations
    found = compare(small_stack, tmp_path / "p.star", off)
    assert found.median_pose_error_deg == pytest.approx(5, abs=0.5)
    assert found.mean_pose_error_deg == pytest.approx(5, abs=0.5)


def test_a_moved_map_is_no_shift_error(small_stack: Path, tmp_path: Path) -> None:
    rotations = read_star(small_stack / "truth.star").rotations
    assert rotations is not None
    moved = (rotations @ [7.0, -3.0, 5.0])[:, :2]
    found = compare(small_stack, tmp_path / "moved.star", rotations, shifts=moved)
    assert found.median_shift_error_angstrom == pytest.approx(0, abs=1e-3)
    angle = np.random.default_rng(1).uniform(0, 2 * np.pi, 200)
    wrong = moved + 2 * np.stack((np.cos(angle), np.sin(angle)), 1)
    found = compare(small_stack, tmp_path / "wrong.star", rotations, shifts=wrong)
    assert found.median_shift_error_angstrom == pytest.approx(2, abs=0.3)


def test_particles_are_matched_by_name(small_stack: Path, tmp_path: Path) -> None:
    rotations = read_star(small_stack / "truth.star").rotations
    assert rotations is not None
    rows = np.random.default_rng(2).permutation(200)[:150]
    found = compare(small_stack, tmp_path / "p.star", rotations[rows], rows=rows)
    assert found.n_particles == 150
    assert found.median_pose_error_deg == pytest.approx(0, abs=1e-3)


def test_particles_with_other_names_are_matched_by_order(small_stack: Path, tmp_path: Path) -> None:
    rotations = read_star(small_stack / "truth.star").rotations
    assert rotations is not None
    names = [f"{i + 1:06d}@other.mrcs" for i in range(200)]
    found = compare(small_stack, tmp_path / "p.star", rotations, names=names)
    assert found.median_pose_error_deg == pytest.approx(0, abs=1e-3)
    few = np.arange(150)
    with pytest.raises(InputError, match="is not the truth of"):
        compare(small_stack, tmp_path / "q.star", rotations[few], rows=few, names=names[:150])


def test_stacks_of_one_name_do_not_mix_particles_up(small_stack: Path, tmp_path: Path) -> None:
    table = read_star(small_stack / "truth.star")
    names = [f"{i % 100 + 1:06d}@{'ab'[i // 100]}/stack.mrcs" for i in range(200)]
    truth, truth_map = tmp_path / "truth.star", small_stack / "truth.mrc"
    rotations, rows = table.rotations, np.arange(200)
    write_star(truth, table, rows, rotations=rotations, shifts=None, image_names=names)
    found = evaluate(truth, truth_map, truth, truth_map)
    assert found.mean_pose_error_deg == pytest.approx(0, abs=1e-3)


def test_what_is_missing_is_told(small_stack: Path, tmp_path: Path) -> None:
    star, truth_map = small_stack / "truth.star", small_stack / "truth.mrc"
    with pytest.raises(InputError, match="has the run ended"):
        evaluate(tmp_path / "particles.star", truth_map, star, truth_map)
    with pytest.raises(InputError, match=r"There is no file .*t\.mrc, which was to hold the truth"):
        evaluate(star, truth_map, star, tmp_path / "t.mrc")
    with pytest.raises(InputError, match=r"particles\.star holds no poses"):
        evaluate(star, truth_map, small_stack / "particles.star", truth_map)
