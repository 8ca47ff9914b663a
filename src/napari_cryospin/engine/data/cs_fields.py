"""The fields of a cryoSPARC table (.cs): read within bounds, and checked for what they hold."""

from __future__ import annotations

import os
import tokenize
import warnings
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.lib import format as npy

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Fields = dict[str, NDArray[np.generic]]

# tables of many columns have headers of some 10 kB
_MOST_HEADER_BYTES = 2**17
# what a header that is no header raises in numpy's reader of it
_NO_HEADER = (
    ValueError,
    TypeError,
    SyntaxError,
    KeyError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)

LENS = {
    "ctf/accel_kv": "voltage",
    "ctf/cs_mm": "spherical_aberration",
    "ctf/amp_contrast": "amplitude_contrast",
}
# where else cryoSPARC keeps what the particles' own columns may lack
_ELSEWHERE = {
    "ctf/accel_kv": ("ctf_static/accel_kv", "mscope_params/accel_kv"),
    "ctf/cs_mm": ("ctf_static/cs_mm", "mscope_params/cs_mm"),
    "ctf/amp_contrast": ("ctf_static/amp_contrast",),
}
# shape of one entry of every field that is used; None for texts
_NUMBERS: dict[str, tuple[int, ...]] = {
    "blob/idx": (),
    "blob/shape": (2,),
    "blob/psize_A": (),
    "blob/sign": (),
    "ctf/exp_group_id": (),
    "ctf/df1_A": (),
    "ctf/df2_A": (),
    "ctf/df_angle_rad": (),
    "ctf/phase_shift_rad": (),
    "alignments3D/pose": (3,),
    "alignments3D/shift": (2,),
    "alignments3D/psize_A": (),
    "alignments3D/split": (),
} | dict.fromkeys(LENS, ())
_WHOLE = ("blob/idx", "blob/shape", "alignments3D/split")
_MOST_IMAGES = 2**31
_BEYOND = 1e30


def read_fields(path: Path) -> Fields:
    """Return the columns of a table by name; nothing in the file is ever run as code.

    Raises
    ------
    InputError
        If the file cannot be read, is no such table, or holds fewer rows than its header says.
    """
    try:
        with path.open("rb") as file:
            array = _read_rows(path, file)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or 'it is damaged'}.") from error
    if not array.size:
        raise InputError(f"{path} holds no particles.")
    assert array.dtype.names is not None
    return {name: array[name] for name in array.dtype.names}


def _read_rows(path: Path, file: BinaryIO) -> NDArray[np.void]:
    try:
        with warnings.catch_warnings():
            # of files written by Python 2, which are read all the same
            warnings.simplefilter("ignore")
            shape, dtype = _read_header(file)
    except _NO_HEADER as error:
        raise _damaged(path) from error
    if dtype.hasobject:
        raise _damaged(path)
    if len(shape) != 1 or isinstance(shape[0], bool) or not dtype.names or not dtype.itemsize:
        raise InputError(f"{path} is no cryoSPARC particle table.")
    held = (os.fstat(file.fileno()).st_size - file.tell()) // dtype.itemsize
    if not 0 <= shape[0] <= held:
        raise InputError(
            f"{path} is cut off: its header promises {shape[0]:,} particles, and it holds "
            f"{held:,}; copy it again from the job's folder."
        )
    try:
        return np.fromfile(file, dtype, shape[0])
    except _NO_HEADER as error:
        raise _damaged(path) from error


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[np.void]]:
    first = npy.read_magic(file) == (1, 0)
    at = file.tell()
    if int.from_bytes(file.read(2 if first else 4), "little") > _MOST_HEADER_BYTES:
        raise ValueError("the header is longer than any table's")
    file.seek(at)
    read = npy.read_array_header_1_0 if first else npy.read_array_header_2_0
    shape, _, dtype = read(file, max_header_size=_MOST_HEADER_BYTES)
    return shape, dtype


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path} is cut off or damaged, or is no table of plain numbers (Python objects are never "
        "loaded); copy it again from the job's folder."
    )


def with_lens(fields: Fields) -> Fields:
    """Return the fields with voltage, Cs and amplitude contrast from wherever they stand."""
    found = {
        name: next(fields[place] for place in places if place in fields)
        for name, places in _ELSEWHERE.items()
        if name not in fields and any(place in fields for place in places)
    }
    return fields | found


def check_fields(path: Path, fields: Fields) -> None:
    """Raise InputError where a field that is used does not hold what it should."""
    if "blob/path" in fields and not _are_texts(fields["blob/path"]):
        raise _unusable(path, "blob/path", "must hold texts")
    for name, shape in _NUMBERS.items():
        if name in fields:
            _check_numbers(path, name, fields[name], shape)
    for name in _WHOLE:
        values = fields[name].astype(np.float64) if name in fields else np.zeros(1)
        if not ((values >= 0) & (values < _MOST_IMAGES)).all():
            raise _unusable(path, name, "holds numbers that are out of range")


def _are_texts(values: NDArray[np.generic]) -> bool:
    if values.dtype.kind == "U":
        codes = np.ascontiguousarray(values).view(f"{values.dtype.byteorder}u4")
        return values.ndim == 1 and not ((codes > 0x10FFFF) | (codes // 0x800 == 0x1B)).any()
    return values.dtype.kind == "S" and values.ndim == 1


def _check_numbers(
    path: Path, name: str, values: NDArray[np.generic], shape: tuple[int, ...]
) -> None:
    if values.dtype.kind not in "fiu" or values.shape[1:] != shape:
        per = " x ".join(str(n) for n in shape) or "one"
        raise _unusable(path, name, f"must hold {per} number{'s' if shape else ''} per particle")
    # single precision ends a little further
    if not (np.abs(values.astype(np.float64)) < _BEYOND).all():
        raise _unusable(path, name, "holds NaN or values that are infinite or nearly so")


def _unusable(path: Path, name: str, problem: str) -> InputError:
    return InputError(f"{path}: {name} {problem}; the file is damaged.")
