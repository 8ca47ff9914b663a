from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.given import Given
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def write_stack(path: Path, shape: tuple[int, ...], pixel_size: float = 2.0) -> Path:
    with mrcfile.new(path) as file:
        file.set_data(np.random.default_rng(0).normal(size=shape).astype(np.float32))
        file.voxel_size = pixel_size
    return path


@pytest.mark.parametrize("suffix", [".mrcs", ".mrc", ".st"])
def test_a_bare_stack_is_used_without_ctf_and_says_so(tmp_path: Path, suffix: str) -> None:
    table = read_table(write_stack(tmp_path / f"particles{suffix}", (5, 16, 16)))
    assert (table.n_particles, table.box, table.pixel_size) == (5, 16, 2.0)
    assert table.defocus is None
    assert "without CTF" in table.notes[0]


def test_a_bare_stack_of_unknown_pixel_size_says_so(tmp_path: Path) -> None:
    table = read_table(write_stack(tmp_path / "particles.mrcs", (5, 16, 16), 0.0))
    assert table.pixel_size == 1.0
    assert any("no pixel size" in note for note in table.notes)


def test_a_single_image_is_a_stack_of_one(tmp_path: Path) -> None:
    assert read_table(write_stack(tmp_path / "one.mrc", (16, 16))).n_particles == 1


@pytest.mark.parametrize("name", ["missing.star", "missing.cs", "missing.mrcs"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=name):
        read_table(tmp_path / name)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.star, \.cs"):
        read_table(tmp_path / "particles.tif")


def test_a_passthrough_file_is_for_cryosparc_only(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "particles.mrcs", (5, 16, 16))
    with pytest.raises(InputError, match="passthrough"):
        read_table(path, passthrough=path)


def test_what_is_given_may_be_named_by_texts(tmp_path: Path) -> None:
    stack = write_stack(tmp_path / "particles.mrcs", (5, 16, 16))
    found = read_table(str(stack), given=Given(datadir=str(tmp_path), pixel_size=3.0))
    assert found.pixel_size == 3.0
    with pytest.raises(InputError, match="There is no folder"):
        read_table(stack, given=Given(datadir=str(tmp_path / "absent")))
