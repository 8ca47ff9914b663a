from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.stack import StackReader, read_header
from napari_cryospin.engine.data.table import OpticsGroup
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


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
    table = read_table(write_stack(tmp_path / "a.mrcs", stored))
    found = StackReader(table).read(np.array([4, 0, 4]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.abs(images)[[4, 0, 4]])


def test_follows_the_tables_stacks_and_indices(tmp_path: Path, images: np.ndarray) -> None:
    first = write_stack(tmp_path / "a.mrcs", images.astype(np.float32))
    second = write_stack(tmp_path / "b.mrcs", -images[:4].astype(np.float32))
    table = replace(
        read_table(first),
        stacks=(first, second),
        stack_index=np.array([1, 0, 1]),
        image_index=np.array([3, 5, 0]),
        optics_index=np.zeros(3, np.int64),
    )
    found = StackReader(table).read(np.arange(3))
    np.testing.assert_array_equal(found, np.stack([-images[3], images[5], -images[0]]))


def test_refuses_an_image_beyond_the_stack(tmp_path: Path, images: np.ndarray) -> None:
    table = read_table(write_stack(tmp_path / "a.mrcs", images.astype(np.float32)))
    with pytest.raises(InputError, match=r"image 7 of .*a\.mrcs, which holds only 6"):
        StackReader(replace(table, image_index=np.array([0, 1, 2, 3, 4, 6])))


def test_refuses_a_box_that_is_not_the_tables(tmp_path: Path, images: np.ndarray) -> None:
    table = read_table(write_stack(tmp_path / "a.mrcs", images.astype(np.float32)))
    with pytest.raises(InputError, match="18 pixels"):
        StackReader(replace(table, optics=(OpticsGroup("a", 2.0, 18),)))


def test_names_a_stack_that_is_missing_and_where_it_was_sought(
    tmp_path: Path, images: np.ndarray
) -> None:
    path = write_stack(tmp_path / "a.mrcs", images.astype(np.float32))
    table = read_table(path)
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


@pytest.mark.parametrize("name", ["a.mrcs.gz", "a.mrcs.bz2"])
def test_a_packed_stack_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b" + bytes(2000))
    with pytest.raises(InputError, match="unpack it"):
        read_header(tmp_path / name)


def reader(tmp_path: Path, images: np.ndarray) -> tuple[Path, StackReader]:
    path = write_stack(tmp_path / "a.mrcs", images.astype(np.float32))
    return path, StackReader(read_table(path))


def test_a_stack_cut_short_while_it_is_read_is_told(tmp_path: Path, images: np.ndarray) -> None:
    path, stack = reader(tmp_path, images)
    with path.open("rb+") as file:
        file.truncate(3000)
    with pytest.raises(InputError, match=r"a\.mrcs was cut short or replaced"):
        stack.read(np.array([5]))


def test_a_stack_replaced_while_it_is_read_is_told(tmp_path: Path, images: np.ndarray) -> None:
    path, stack = reader(tmp_path, images)
    write_stack(tmp_path / "b.mrcs", -images.astype(np.float32)).replace(path)
    with pytest.raises(InputError, match=r"a\.mrcs was cut short or replaced"):
        stack.read(np.array([0]))


def test_a_stack_that_has_gone_is_told(tmp_path: Path, images: np.ndarray) -> None:
    path, stack = reader(tmp_path, images)
    path.unlink()
    with pytest.raises(InputError, match=r"a\.mrcs does not exist"):
        stack.read(np.array([0]))
