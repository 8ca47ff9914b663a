"""MRC files: what the header says, checked against the file, and reading images into buffers.

Nothing is memory-mapped: a file that is cut short while it is read gives an error that can be told,
where a memory map would end the process.
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mrcfile.dtypes
import numpy as np

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from numpy.typing import NDArray

_HEADER_BYTES = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
# IMOD's stamp in the header says that the flags beside it hold, and its first flag signed bytes
_IMOD_AT, _IMOD_STAMP = 152, 1146047817
_SPACE_GROUPS_OF_VOLUMES = range(401, 631)
# no file of gzip unpacks to more than this many times its size
_MOST_PACKED = 1032
_STEP_BYTES = 2**20


@dataclass(frozen=True)
class MrcLayout:
    """Where the images of an MRC file are.

    Parameters
    ----------
    path
        The file.
    shape
        Sections, rows, columns: (n, y, x).
    dtype
        Type of a pixel, with its byte order.
    offset
        Bytes before the first image.
    pixel_size
        Å per pixel along x, or None where the header holds no positive number.
    identity
        Inode, size and time of change of the file: they tell whether it was replaced.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    offset: int
    pixel_size: float | None
    identity: tuple[int, int, int] = (0, 0, 0)

    @property
    def section_bytes(self) -> int:
        """Bytes of one image."""
        return self.dtype.itemsize * self.shape[1] * self.shape[2]

    def read(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return images by their numbers from 0, shape (m, y, x), in the order asked for.

        Raises
        ------
        InputError
            If the file has gone, or was cut short or replaced since the layout was read.
        """
        wanted, place = np.unique(numbers, return_inverse=True)
        images = np.empty((len(wanted), *self.shape[1:]), np.float32)
        runs = np.split(np.arange(len(wanted)), np.flatnonzero(np.diff(wanted) != 1) + 1)
        with _opened(self.path) as file:
            if _identity(file) != self.identity:
                raise self._changed()
            for run in runs:
                buffer = np.empty((len(run), *self.shape[1:]), self.dtype)
                self._fill(file, buffer, self.offset + int(wanted[run[0]]) * self.section_bytes)
                images[run] = buffer
        if len(wanted) == len(numbers) and (place[:-1] <= place[1:]).all():
            return images
        return images[place.reshape(-1)]

    def _fill(self, file: FileIO, buffer: NDArray[np.generic], at: int) -> None:
        view = buffer.reshape(-1).view(np.uint8).data
        try:
            file.seek(at)
            while view:
                count = file.readinto(view)
                if not count:
                    raise self._changed()
                view = view[count:]
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _changed(self) -> InputError:
        return InputError(
            f"{self.path} was cut short or replaced while it was read: copy it again, and leave it "
            "alone while it is in use."
        )


def read_layout(path: Path) -> MrcLayout:
    """Return the layout of an MRC file of real numbers; its sizes agree with the file's.

    Raises
    ------
    InputError
        If the file is missing, is no MRC file of real numbers, or is cut off.
    """
    with _opened(path) as file:
        try:
            raw = file.read(_HEADER_BYTES)
        except OSError as error:
            raise _unreadable(path, error) from error
        identity = _identity(file)
    layout = _parse(path, raw, identity)
    _require_size(layout, identity[1])
    return layout


def read_volume(path: Path) -> tuple[NDArray[np.float32], MrcLayout]:
    """Return all sections of an MRC file, packed by gzip or not, shape (n, y, x); errors as above.

    The sizes in the header are checked against the file's before memory is taken for them.
    """
    if path.suffix.lower() != ".gz":
        layout = read_layout(path)
        return layout.read(np.arange(layout.shape[0])), layout
    with _opened(path) as file:
        packed = _identity(file)[1]
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                layout = _parse(path, unpacked.read(_HEADER_BYTES), (0, 0, 0))
                _require_size(layout, _MOST_PACKED * packed)
                data = _unpack(unpacked, layout)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path} is damaged or cut off, and cannot be unpacked.") from error
    volume = np.frombuffer(data, layout.dtype).reshape(layout.shape)
    return volume.astype(np.float32), layout


def _unpack(file: gzip.GzipFile, layout: MrcLayout) -> bytearray:
    """Return the bytes of the sections; memory grows only with what is there."""
    for skipped in range(_HEADER_BYTES, layout.offset, _STEP_BYTES):
        file.read(min(_STEP_BYTES, layout.offset - skipped))
    data, size = bytearray(), layout.shape[0] * layout.section_bytes
    while len(data) < size:
        piece = file.read(min(_STEP_BYTES, size - len(data)))
        if not piece:
            raise EOFError
        data += piece
    # at the end of the file, its checksum is compared
    file.read(1)
    return data


def _opened(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise InputError(f"The image file {path} does not exist.") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or "it is damaged"
    return InputError(f"{path} cannot be read as an MRC file: {reason}.")


def _identity(file: FileIO) -> tuple[int, int, int]:
    found = os.fstat(file.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns


def _parse(path: Path, raw: bytes, identity: tuple[int, int, int]) -> MrcLayout:
    if len(raw) < _HEADER_BYTES:
        raise InputError(f"{path} cannot be read as an MRC file: it is cut off in the header.")
    order = _byte_order(raw)
    header = np.frombuffer(raw, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order))[0]
    mode, extended = int(header["mode"]), int(header["nsymbt"])
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    if mode not in _MODES or int(header["ispg"]) in _SPACE_GROUPS_OF_VOLUMES:
        raise InputError(f"{path} is no stack of real images (MRC mode {mode}).")
    if 0 in shape:
        raise InputError(f"{path} holds no images.")
    if min(shape) < 0 or extended < 0:
        raise InputError(f"{path} is damaged: its header holds sizes below zero.")
    kind = "u1" if mode == 0 and _bytes_are_unsigned(raw, order) else _MODES[mode]
    return MrcLayout(
        path,
        shape,
        np.dtype(order + kind),
        _HEADER_BYTES + extended,
        _pixel_size(header),
        identity,
    )


def _byte_order(raw: bytes) -> str:
    """Return "<" or ">": by the machine stamp, or, where it is none, by the mode."""
    stamp = raw[212:214]
    if stamp[:1] in (b"\x44", b"\x11"):
        return "<" if stamp[:1] == b"\x44" else ">"
    return "<" if int.from_bytes(raw[12:16], "little") in _MODES else ">"


def _bytes_are_unsigned(raw: bytes, order: str) -> bool:
    stamp, flags = np.frombuffer(raw, order + "i4", 2, _IMOD_AT)
    return bool(stamp == _IMOD_STAMP and not flags & 1)


def _pixel_size(header: np.void) -> float | None:
    cell, intervals = float(header["cella"]["x"]), int(header["mx"])
    if not np.isfinite(cell) or cell <= 0 or intervals <= 0:
        return None
    # stored in single precision: more digits than that are noise
    return float(np.float32(cell) / np.float32(intervals))


def _require_size(layout: MrcLayout, available: int) -> None:
    needed = layout.offset + layout.shape[0] * layout.section_bytes
    if needed > available:
        raise InputError(
            f"{layout.path} is damaged or cut off: its header promises more images than the file "
            "holds; copy or extract it again."
        )
