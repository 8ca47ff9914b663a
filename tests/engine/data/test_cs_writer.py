"""What is written for cryoSPARC, read by its own tools."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cryosparc.dataset import Dataset
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.data.cryosparc import read_cs
from napari_cryospin.engine.data.cs_writer import write_cs
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.data.table import ParticleTable

SOURCES = (
    "particles/cryosparc/cryosparc_P12_J24_001_particles.cs",
    "particles/real_empiar10076_7/empiar_10076_7.cs",
    "corner_cases/relion31.star",
    "corner_cases/two_optics_groups.star",
    "corner_cases/f32.mrcs",
)


def written(folder: Path, table: ParticleTable, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Write rows with random poses as .cs and .star, and return the poses."""
    rng = np.random.default_rng(1)
    given = {
        "rotations": random_rotations(len(rows), rng),
        "shifts": rng.normal(0, 5, (len(rows), 2)),
        "half_set": np.arange(len(rows)) % 2 + 1,
    }
    write_cs(folder / "out.cs", table, rows, **given)
    write_star(folder / "out.star", table, rows, **given)
    return given


@pytest.mark.parametrize("name", SOURCES)
def test_cryosparc_reads_the_poses_of_the_star_file(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    table = read_table(shared_data / name)
    rows = np.arange(table.n_particles)[::-2]
    written(tmp_path, table, rows)
    found, star = Dataset.load(tmp_path / "out.cs"), read_star(tmp_path / "out.star")
    assert star.rotations is not None and star.shifts is not None
    # RELION's Euler matrix is the transpose of the rotation that cryoSPARC stores
    rotations = Rotation.from_rotvec(-np.asarray(found["alignments3D/pose"], np.float64))
    assert angular_distance(rotations.as_matrix(), star.rotations).max() < 1e-3
    pixel_sizes = np.asarray(found["alignments3D/psize_A"])[:, None]
    np.testing.assert_allclose(found["alignments3D/shift"] * pixel_sizes, star.shifts, atol=1e-4)
    np.testing.assert_array_equal(found["alignments3D/split"] + 1, star.half_set)


@pytest.mark.parametrize("name", SOURCES)
def test_fields_have_the_types_of_a_real_file(shared_data: Path, tmp_path: Path, name: str) -> None:
    real = np.load(shared_data / SOURCES[0]).dtype
    table = read_table(shared_data / name)
    written(tmp_path, table, np.arange(table.n_particles))
    found = np.load(tmp_path / "out.cs", allow_pickle=False).dtype
    assert {field for field in real.names if field.startswith(("alignments3D", "blob"))} <= set(
        found.names
    )
    for field in set(real.names) & set(found.names):
        kinds = [(kind.base.kind, kind.shape) for kind in (real[field], found[field])]
        assert kinds[0] == kinds[1], field
        if kinds[0][0] != "S":
            assert real[field] == found[field], field


def test_all_fields_and_uids_of_a_cryosparc_table_are_kept(
    shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / SOURCES[0]
    table = read_cs(path)
    rows = np.arange(table.n_particles)[::-3]
    written(tmp_path, table, rows)
    before, after = Dataset.load(path), Dataset.load(tmp_path / "out.cs")
    assert after.fields() == before.fields()
    for field in before.fields():
        if not field.startswith("alignments3D"):
            np.testing.assert_array_equal(after[field], before[field][rows], field)
    # another alignment's figures are not these poses'
    assert not np.any(after["alignments3D/error"])


@pytest.mark.parametrize("name", SOURCES)
def test_it_is_read_back_as_the_same_particles(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    table = read_table(shared_data / name)
    rows = np.arange(table.n_particles)
    poses = written(tmp_path, table, rows)
    found = read_cs(tmp_path / "out.cs")
    np.testing.assert_array_equal(found.image_index, table.image_index)
    assert angular_distance(found.rotations, poses["rotations"]).max() < 1e-3
    np.testing.assert_allclose(found.shifts, poses["shifts"], atol=1e-4)
    assert found.particles_are_white == table.particles_are_white
    assert (found.defocus is None) == (table.defocus is None)
    if found.defocus is not None and table.defocus is not None:
        for part in ("u", "v", "angle", "phase_shift"):
            wanted = getattr(table.defocus, part)
            np.testing.assert_allclose(getattr(found.defocus, part), wanted, rtol=1e-5)


def test_made_uids_are_unique_and_the_same_each_time(shared_data: Path, tmp_path: Path) -> None:
    table = read_star(shared_data / "corner_cases/relion31.star")
    rows = np.array([0, 1, 2, 0, 0])
    written(tmp_path, table, rows)
    first = np.load(tmp_path / "out.cs")["uid"]
    written(tmp_path, table, rows)
    assert len(set(first.tolist())) == 5
    assert first.dtype == np.uint64
    np.testing.assert_array_equal(np.load(tmp_path / "out.cs")["uid"], first)


def test_the_sign_is_that_of_the_images_as_used(shared_data: Path, tmp_path: Path) -> None:
    table = read_cs(shared_data / SOURCES[1])
    assert not table.particles_are_white
    written(tmp_path, replace(table, particles_are_white=True), np.arange(table.n_particles))
    assert set(np.load(tmp_path / "out.cs")["blob/sign"]) == {1}
