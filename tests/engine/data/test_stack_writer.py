from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.stack import StackReader
from napari_cryospin.engine.data.stack_writer import inverted_paths, only, write_inverted
from napari_cryospin.engine.data.star import read_star, write_star

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_images_of_several_sizes_get_a_stack_each(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # some images at a time
    monkeypatch.setattr("napari_cryospin.engine.data.stack_writer._CHUNK_BYTES", 5 * 4 * 32**2)
    table = read_star(shared_data / "corner_cases" / "two_optics_groups.star")
    told = []
    found = write_inverted(tmp_path / "new.mrcs", table, lambda *done: told.append(done))
    rows = np.arange(table.n_particles)
    path = tmp_path / "new.star"
    write_star(path, found, rows, rotations=table.rotations, shifts=table.shifts)
    again = read_star(path)
    assert sorted(again.stacks) == sorted(inverted_paths(tmp_path / "new.mrcs", table))
    assert told[-1] == (table.n_particles, table.n_particles) and len(told) > 2
    before, after = StackReader(table), StackReader(again)
    for row in rows[:, None]:
        np.testing.assert_array_equal(after.read(row), -before.read(row))
    assert again.particles_are_white != table.particles_are_white


def test_some_rows_alone_are_a_table(shared_data: Path, tmp_path: Path) -> None:
    table = read_star(shared_data / "corner_cases" / "relion31.star")
    rows = np.array([7, 2, 2])
    part, path = only(table, rows), tmp_path / "out.star"
    assert part.n_particles == 3
    write_star(path, part, np.arange(3), rotations=part.rotations, shifts=part.shifts)
    found = read_star(path)
    np.testing.assert_array_equal(found.image_index, table.image_index[rows])
    assert found.defocus is not None and table.defocus is not None
    np.testing.assert_array_equal(found.defocus.u, table.defocus.u[rows])
    np.testing.assert_array_equal(found.half_set, table.half_set[rows])
