"""Rows of a table that are written are read back: their images, poses and half-sets."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.geometry.euler import matrices_from_euler
from star_tables import OPTICS, PARTICLE, star

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.data.table import ParticleTable


def assert_same(a: ParticleTable, b: ParticleTable) -> None:
    assert (a.stacks, a.optics, a.particles_are_white) == (
        b.stacks,
        b.optics,
        b.particles_are_white,
    )
    for name in ("stack_index", "image_index", "optics_index", "half_set"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_allclose(a.rotations, b.rotations, atol=1e-7)
    np.testing.assert_allclose(a.shifts, b.shifts, atol=1e-6)
    assert (a.defocus is None) == (b.defocus is None)
    if a.defocus is not None and b.defocus is not None:
        for name in ("u", "v", "angle", "phase_shift"):
            np.testing.assert_allclose(getattr(a.defocus, name), getattr(b.defocus, name))


@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("name", ["relion31", "two_optics_groups", "relion30"])
def test_reading_back_what_was_written_changes_nothing(
    tmp_path: Path, shared_data: Path, name: str, white: bool
) -> None:
    table = read_star(shared_data / "corner_cases" / f"{name}.star")
    table = replace(table, particles_are_white=white)
    path = tmp_path / "out.star"
    rows = np.arange(table.n_particles)
    write_star(path, table, rows, rotations=table.rotations, shifts=table.shifts)
    assert_same(read_star(path), table)
    assert list(tmp_path.iterdir()) == [path]


def test_writes_rows_with_new_poses_and_half_sets(tmp_path: Path) -> None:
    names = [f"{i}@a.mrcs" for i in (1, 2, 3)]
    table = read_star(star(tmp_path, [PARTICLE | {"rlnImageName": n} for n in names], [OPTICS]))
    rotations = matrices_from_euler([[0, 0, 90], [50, 60, 70]])
    shifts = np.array([[1, 2], [3, 4]])
    path = tmp_path / "out.star"
    rows = np.array([2, 0])
    write_star(path, table, rows, rotations=rotations, shifts=shifts, half_set=np.array([1, 2]))
    found = read_star(path)
    assert found.image_index.tolist() == [2, 0]
    np.testing.assert_allclose(found.rotations, rotations, atol=1e-7)
    np.testing.assert_allclose(found.shifts, shifts)
    assert found.half_set.tolist() == [1, 2]


def test_can_leave_poses_out_and_take_other_names(tmp_path: Path) -> None:
    table = read_star(star(tmp_path, [PARTICLE], [OPTICS]))
    path = tmp_path / "out.star"
    names = ["000004@a.mrcs"]
    write_star(path, table, np.array([0]), rotations=None, shifts=None, image_names=names)
    found = read_star(path)
    assert found.rotations is None
    assert found.shifts is None
    assert found.image_index.tolist() == [3]


def test_images_are_named_relative_to_the_file_or_absolutely(tmp_path: Path) -> None:
    table = read_star(star(tmp_path, [PARTICLE], [OPTICS]))
    (tmp_path / "run").mkdir()
    for path in (tmp_path / "out.star", tmp_path / "run" / "out.star"):
        write_star(path, table, np.array([0]), rotations=table.rotations, shifts=table.shifts)
    assert "000001@a.mrcs" in (tmp_path / "out.star").read_text()
    assert f"000001@{tmp_path}/a.mrcs" in (tmp_path / "run" / "out.star").read_text()


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_star(star(tmp_path, [PARTICLE], [OPTICS]))
    before = sorted(tmp_path.iterdir()), table.source.read_text()

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_star(table.source, table, np.array([0]), rotations=None, shifts=None)
    assert (sorted(tmp_path.iterdir()), table.source.read_text()) == before


@pytest.mark.relion
@pytest.mark.skipif(not shutil.which("relion_stack_create"), reason="RELION is not installed")
@pytest.mark.parametrize("suffix", [".mrcs", ".mrc"])
def test_relion_finds_the_images(tmp_path: Path, suffix: str) -> None:
    table = read_star(star(tmp_path, [PARTICLE | {"rlnImageName": "3@a.mrcs"}], [OPTICS]))
    (tmp_path / "a.mrcs").rename(tmp_path / f"b{suffix}")
    table = replace(table, stacks=(tmp_path / f"b{suffix}",), particles_are_white=False)
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "out.star"
    write_star(path, table, np.array([0]), rotations=table.rotations, shifts=table.shifts)
    command = ["relion_stack_create", "--i", "run/out.star", "--o", "copy"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    images = mrcfile.read(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "copy.mrcs").squeeze(), images[2])
    assert read_star(path).stacks == table.stacks
