from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.load import open_particles
from napari_cryospin.engine.data.stack import StackReader, find_stack, read_header
from napari_cryospin.engine.data.table import OpticsGroup
from napari_cryospin.engine.errors import InputError


def write_stack(path: Path, data: np.ndarray) -> Path:
    with mrcfile.new(path) as file:
        file.set_data(data)
        file.voxel_size = 2.0
    return path


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(-100, 100, (6, 16, 16))


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32", ">f4"])
def test_reads_images_in_the_order_asked_for(
    tmp_path: Path, images: np.ndarray, dtype: str
) -> None:
    stored = np.abs(images).astype(dtype)
    table = open_particles(write_stack(tmp_path / "a.mrcs", stored))
    found = StackReader(table).read(np.array([4, 0, 4]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.abs(images)[[4, 0, 4]])


def test_follows_the_tables_stacks_and_indices(tmp_path: Path, images: np.ndarray) -> None:
    first = write_stack(tmp_path / "a.mrcs", images.astype(np.float32))
    second = write_stack(tmp_path / "b.mrcs", -images[:4].astype(np.float32))
    table = replace(
        open_particles(first),
        stacks=(first, second),
        stack_index=np.array([1, 0, 1]),
        image_index=np.array([3, 5, 0]),
        optics_index=np.zeros(3, np.int64),
    )
    found = StackReader(table).read(np.arange(3))
    np.testing.assert_array_equal(found, np.stack([-images[3], images[5], -images[0]]))


def test_refuses_an_image_beyond_the_stack(tmp_path: Path, images: np.ndarray) -> None:
    table = open_particles(write_stack(tmp_path / "a.mrcs", images.astype(np.float32)))
    with pytest.raises(InputError, match=r"image 7 of .*a\.mrcs, which holds only 6"):
        StackReader(replace(table, image_index=np.array([0, 1, 2, 3, 4, 6])))


def test_refuses_a_box_that_is_not_the_tables(tmp_path: Path, images: np.ndarray) -> None:
    table = open_particles(write_stack(tmp_path / "a.mrcs", images.astype(np.float32)))
    with pytest.raises(InputError, match="18 pixels"):
        StackReader(replace(table, optics=(OpticsGroup("a", 2.0, 18),)))


def test_names_a_stack_that_is_missing_and_where_it_was_sought(
    tmp_path: Path, images: np.ndarray
) -> None:
    path = write_stack(tmp_path / "a.mrcs", images.astype(np.float32))
    table = open_particles(path)
    path.unlink()
    with pytest.raises(InputError, match=rf"a\.mrcs was not found.*{tmp_path}"):
        StackReader(table)


@pytest.mark.parametrize("size", [0, 100, 1024, 2000])
def test_a_stack_that_is_cut_off_is_refused(tmp_path: Path, images: np.ndarray, size: int) -> None:
    path = write_stack(tmp_path / "a.mrcs", images.astype(np.float32))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r"a\.mrcs"):
        read_header(path)


def test_complex_data_are_no_images(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a.mrc", np.ones((3, 8, 8), np.complex64))
    with pytest.raises(InputError, match="real images"):
        read_header(path)


def test_a_stack_is_found_below_the_table_and_below_folders_above_it(tmp_path: Path) -> None:
    folder = tmp_path / "Refine3D" / "job007"
    folder.mkdir(parents=True)
    above = tmp_path / "Extract" / "a.mrcs"
    above.parent.mkdir()
    above.touch()
    assert find_stack(Path("Extract/a.mrcs"), folder) == above
    assert find_stack(above, folder) == above
    below = folder / "Extract" / "a.mrcs"
    below.parent.mkdir()
    below.touch()
    assert find_stack(Path("Extract/a.mrcs"), folder) == below


def test_only_cryosparc_stacks_are_sought_beside_the_table(tmp_path: Path) -> None:
    moved = tmp_path / "a.mrcs"
    moved.touch()
    assert find_stack(Path("J1/extract/a.mrc"), tmp_path, beside=True) == moved
    assert not find_stack(Path("J1/extract/a.mrc"), tmp_path).is_file()
