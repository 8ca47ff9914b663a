from __future__ import annotations

import gzip
import tracemalloc
from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.mrc import read_layout, read_volume
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

IMOD_STAMP_AT, IMOD_FLAGS_AT = 152, 156
IMOD_STAMP = 1146047817
# byte offsets of the header's whole numbers
NX, NY, NZ, MODE, NSYMBT = 0, 4, 8, 12, 92


def write(path: Path, data: np.ndarray, pixel_size: float = 2.0) -> Path:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(data)
        file.voxel_size = pixel_size
    return path


def change(path: Path, **at: Any) -> Path:
    """Set whole numbers of the header by the names above."""
    raw = bytearray(path.read_bytes())
    for name, value in at.items():
        place = globals()[name]
        raw[place : place + 4] = int(value).to_bytes(4, "little", signed=value < 0)
    path.write_bytes(raw)
    return path


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    return write(tmp_path / "a.mrcs", np.zeros((6, 16, 16), np.float32))


@pytest.mark.parametrize("dtype", ["i1", "<i2", ">i2", "<u2", ">u2", "<f2", "<f4", ">f4"])
def test_agrees_with_mrcfile(tmp_path: Path, dtype: str) -> None:
    data = np.arange(6 * 8 * 10).reshape(6, 8, 10) % 100
    path = write(tmp_path / "a.mrc", data.astype(dtype), 1.5)
    volume, layout = read_volume(path)
    np.testing.assert_array_equal(volume, data)
    assert layout.shape == (6, 8, 10)
    assert layout.pixel_size == pytest.approx(1.5)


def test_reads_images_in_the_order_asked_for_and_more_than_once(tmp_path: Path) -> None:
    data = np.arange(6 * 16, dtype=np.float32).reshape(6, 4, 4)
    layout = read_layout(write(tmp_path / "a.mrcs", data))
    for order in ([0, 1, 2], [5, 0, 3, 4, 0], [2], [1, 1, 2]):
        np.testing.assert_array_equal(layout.read(np.array(order)), data[order])


def test_an_extended_header_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.mrcs"
    with mrcfile.new(path) as file:
        file.set_data(np.full((2, 4, 4), 7, np.float32))
        file.set_extended_header(np.zeros(3000, np.uint8))
    assert (read_volume(path)[0] == 7).all()


@pytest.mark.parametrize(
    ("stamp", "flags", "unsigned"), [(IMOD_STAMP, 0, True), (IMOD_STAMP, 1, False), (0, 0, False)]
)
def test_bytes_are_unsigned_where_imod_says_so(
    tmp_path: Path, stamp: int, flags: int, unsigned: bool
) -> None:
    path = write(tmp_path / "a.mrcs", np.full((2, 4, 4), -56, np.int8))
    change(path, IMOD_STAMP_AT=stamp, IMOD_FLAGS_AT=flags)
    assert (read_volume(path)[0] == (200 if unsigned else -56)).all()


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ({"NX": 2**31 - 1}, "more images than the file holds"),
        ({"NZ": 10**9}, "more images than the file holds"),
        ({"NX": 2**30, "NY": 2**30, "NZ": 2**30}, "more images than the file holds"),
        ({"NSYMBT": 2**30}, "more images than the file holds"),
        ({"NSYMBT": -(2**30)}, "below zero"),
        ({"NX": -16}, "below zero"),
        ({"NZ": 0}, "no images"),
        ({"MODE": 3}, "MRC mode 3"),
        ({"MODE": 4}, "MRC mode 4"),
        ({"MODE": 101}, "MRC mode 101"),
    ],
)
def test_sizes_are_checked_against_the_file_before_memory_is_taken(
    stack: Path, at: dict[str, int], message: str
) -> None:
    change(stack, **at)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            read_volume(stack)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 5, 1000])
def test_a_header_that_is_cut_off_is_told(stack: Path, size: int) -> None:
    stack.write_bytes(stack.read_bytes()[:size])
    with pytest.raises(InputError, match="cut off in the header"):
        read_layout(stack)


def test_a_folder_is_no_mrc_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as an MRC file"):
        read_layout(tmp_path)


def test_packed_maps_are_read(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    path = tmp_path / "a.mrc.gz"
    path.write_bytes(gzip.compress(write(tmp_path / "a.mrc", data).read_bytes()))
    np.testing.assert_array_equal(read_volume(path)[0], data)


@pytest.mark.parametrize("damage", ["cut", "bits", "plain", "more"])
def test_packed_maps_that_are_damaged_are_told(tmp_path: Path, damage: str) -> None:
    plain = write(tmp_path / "a.mrc", np.random.default_rng(0).normal(size=(8, 8, 8)).astype("f4"))
    if damage == "more":
        change(plain, NX=2**20)
    raw = bytearray(plain.read_bytes() if damage == "plain" else gzip.compress(plain.read_bytes()))
    if damage == "cut":
        del raw[1000:]
    if damage == "bits":
        raw[500:700] = bytes(200)
    path = tmp_path / "b.mrc.gz"
    path.write_bytes(raw)
    with pytest.raises(InputError, match="damaged or cut off"):
        read_volume(path)
