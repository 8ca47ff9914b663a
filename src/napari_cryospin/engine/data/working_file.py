"""A working file: working images on disk, as 16-bit floating-point numbers.

It begins with a header of one page: what it is, its sizes, and the key of what it was made of. The
images follow, row after row, and after them a trailer that holds what else is known of them: which
are used, what they are multiplied with, notes, two numbers by which each is known again, and the
sum of its bytes. The header is written last; nothing is memory-mapped, and every size and sum is
checked whenever images are read, so that a file that is cut short, replaced or changed is told, or
made anew, and never believed.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import threading
import weakref
import zlib
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from napari_cryospin.engine.data.holding import hold
from napari_cryospin.engine.data.image_store import rows_at_once, signatures
from napari_cryospin.engine.data.plan import Prepared
from napari_cryospin.engine.data.set_aside import SetAside
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

# of the file, and of what prepares its images: files of other versions are made anew
VERSION = 4
_MAGIC = b"cryospin images\0"
# magic, version, box, number of images, bytes of the trailer and their checksum, key
_HEADER = struct.Struct("<16sIIQQI64s")
# what is written first, in the header's page: the host that writes the file
_PAGE, _HOST_AT = 4096, 2048
_HALF = 2
# images whose values are larger than this are made smaller by a power of two
_LARGEST = 2.0**15


class Damaged(Exception):
    """A working file is not whole, or not what it is taken for; says why, where that is known."""


@dataclass(frozen=True)
class _Trailer:
    """What a working file knows of its images besides themselves.

    ``units`` are what each of the n images is multiplied with to undo what fitted it into 16 bits,
    (n,); ``numbers`` are the signatures of the images as they are stored, (n, 2), and ``sums`` the
    sums of their bytes, (n,).
    """

    prepared: Prepared
    units: Tensor
    numbers: Tensor
    sums: NDArray[np.uint64]

    def to_bytes(self) -> bytes:
        prepared, aside = self.prepared, self.prepared.set_aside
        arrays = {
            "kept": prepared.kept,
            "factors": prepared.factors.numpy(),
            "aside": np.stack((aside.rows, aside.reasons)),
            "units": self.units.numpy(),
            "numbers": self.numbers.numpy(),
            "sums": self.sums,
            "noise": np.empty(0) if prepared.noise is None else prepared.noise.numpy(),
            "said": np.frombuffer(
                json.dumps({"asked": aside.asked, "notes": prepared.notes}).encode(), np.uint8
            ),
        }
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def of_bytes(cls, data: bytes) -> Self:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            said = json.loads(arrays["said"].tobytes())
            rows, reasons = arrays["aside"]
            prepared = Prepared(
                arrays["kept"],
                torch.from_numpy(arrays["factors"]),
                SetAside(rows, reasons, said["asked"]),
                tuple(said["notes"]),
                torch.from_numpy(arrays["noise"]) if arrays["noise"].size else None,
            )
            units, numbers = (torch.from_numpy(arrays[name]) for name in ("units", "numbers"))
            return cls(prepared, units, numbers, arrays["sums"])


class OnDisk:
    """Working images in a working file, which stays open, and in use, as long as this lives.

    Parameters
    ----------
    path
        The file.
    key
        What it was made of (:mod:`~.working_files`).

    Attributes
    ----------
    prepared
        What preparing has found out of the images.

    Raises
    ------
    Damaged
        If it is not a whole working file of that key.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self._file = _OpenFile(path)
        self._box, trailer = _read_header(self._file, key)
        self.prepared = trailer.prepared
        self._device = torch.device("cpu")
        self._places = trailer.prepared.kept
        kept = torch.from_numpy(self._places)
        self._factors = trailer.prepared.factors * trailer.units[kept]
        self._numbers, self._sums = trailer.numbers[kept], trailer.sums

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self._places)

    @property
    def box(self) -> int:
        """Side D of the images, pixels."""
        return self._box

    def to(self, device: torch.device) -> OnDisk:
        """Return the same images, converted on a device once they have been read."""
        moved = copy(self)
        moved._device, moved._factors = device, self._factors.to(device)
        return moved

    def read(self, rows: Tensor) -> Tensor:
        """Return images by their numbers from 0, (m,), as (m, D, D), on the device of :meth:`to`.

        Raises
        ------
        InputError
            If the file was cut short or changed since it was opened, or cannot be read any more.
        """
        try:
            stored = self._stored(self._places[rows.cpu().numpy()])
        except Damaged as error:
            raise InputError(
                f"The working file {self.path} cannot be read any more: {error}; begin or resume "
                "the run again, which makes it anew."
            ) from error
        images = stored.to(self._device).float()
        images *= self._factors[rows.to(self._device), None, None]
        return images

    def signatures(self) -> Tensor:
        """Return two numbers by which each image is known again, (n, 2), as they were written."""
        return self._numbers * self._factors.cpu()[:, None]

    def check(self, rows: Tensor, progress: Callable[[int, int], None] | None = None) -> None:
        """Raise Damaged where images, (m,), are not those that were written, or cannot be read."""
        done = 0
        for part in rows.split(rows_at_once(self._box)):
            self._stored(self._places[part.numpy()])
            done += len(part)
            if progress is not None:
                progress(done, len(rows))

    def _stored(self, places: NDArray[np.int64]) -> Tensor:
        """Return images as they are stored, (m, D, D), float16; neighbours are read at once."""
        wanted, place = np.unique(places, return_inverse=True)
        images = np.empty((len(wanted), self._box, self._box), np.float16)
        size = self._box**2 * _HALF
        runs = [
            (int(wanted[part.start]) * size + _PAGE, images[part]) for part in _neighbours(wanted)
        ]
        for at, run in runs if len(runs) > 1 else ():
            # all of them are on their way from the disk before the first is waited for
            self._file.expect(at, run.nbytes)
        for at, run in runs:
            self._fill(at, run)
        if not np.array_equal(_sums(images), self._sums[wanted]):
            raise Damaged("it was changed")
        ascending = len(wanted) == len(places) and bool((place[:-1] <= place[1:]).all())
        return torch.from_numpy(images if ascending else images[place.reshape(-1)])

    def _fill(self, at: int, images: NDArray[np.float16]) -> None:
        try:
            self._file.read_into(_bytes_of(images), at)
        except (OSError, EOFError) as error:
            raise Damaged(getattr(error, "strerror", None) or "it was cut short") from error


class FileHome:
    """Takes working images into a file that is being written.

    Parameters
    ----------
    file
        The file.
    n
        Number of images.
    box
        Side D of the images, pixels.
    """

    def __init__(self, file: int, n: int, box: int) -> None:
        self._file, self._n, self._box = file, n, box
        self._units, self._numbers = torch.ones(n), torch.zeros(n, 2)
        self._sums = np.zeros(n, np.uint64)

    def put(self, places: NDArray[np.int64], images: Tensor) -> None:
        """Take images (m, D, D) for places (m,) among all."""
        highest = images.abs().amax((1, 2))
        units = torch.exp2((highest / _LARGEST).clamp(min=1).log2().ceil())
        stored = (images / units[:, None, None]).half()
        where = torch.from_numpy(places)
        self._units[where], self._numbers[where] = units, signatures(stored.float())
        size = self._box**2 * _HALF
        data = stored.numpy()
        self._sums[places] = _sums(data)
        for part in _neighbours(places):
            _write(self._file, _bytes_of(data[part]), int(places[part.start]) * size + _PAGE)

    def close(self, prepared: Prepared, key: str) -> None:
        """Write what else is known of the images, and last what the file is."""
        trailer = _Trailer(prepared, self._units, self._numbers, self._sums).to_bytes()
        end = self._n * self._box**2 * _HALF + _PAGE
        _write(self._file, memoryview(trailer), end)
        header = _HEADER.pack(
            _MAGIC, VERSION, self._box, self._n, len(trailer), zlib.crc32(trailer), key.encode()
        )
        _write(self._file, memoryview(header), 0)


@contextmanager
def writing(path: Path, n: int, box: int) -> Iterator[FileHome]:
    """Yield what takes images for a working file; it is there, whole, once it has been closed.

    Raises
    ------
    OSError
        If the file cannot be written; nothing of it is left.
    """
    # it is seen to be held until it stands in its place
    with ExitStack() as held, replacing(path) as temporary:
        file = os.open(temporary, os.O_RDWR | getattr(os, "O_BINARY", 0))
        held.callback(os.close, file)
        try:
            hold(file, alone=True)
            _write(file, memoryview(_host()), _HOST_AT)
            yield FileHome(file, n, box)
        finally:
            if os.name == "nt":  # pragma: no cover (no file that is open can be moved there)
                held.close()


def was_written_here(path: Path) -> bool:
    """Return whether a process of this host has begun a file.

    Whoever is still writing it holds it, and on one host that can be seen.
    """
    with path.open("rb") as file:
        file.seek(_HOST_AT)
        return file.read(len(_host())) == _host()


def size_of(n: int, box: int) -> int:
    """Return the bytes of a working file, about."""
    return n * (box**2 * _HALF + 64) + 2 * _PAGE


class _OpenFile:
    """A file that is open for reading, until it is let go of; from any thread."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)
        self._one_at_a_time = threading.Lock()
        hold(self._file)
        self.size = os.fstat(self._file).st_size

    def read_into(self, buffer: memoryview, at: int) -> None:
        while buffer:
            count = self._read_some(buffer, at)
            if not count:
                raise EOFError
            buffer, at = buffer[count:], at + count

    def _read_some(self, buffer: memoryview, at: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file, [buffer], at)
        with self._one_at_a_time:  # pragma: no cover (Windows)
            os.lseek(self._file, at, os.SEEK_SET)
            data = os.read(self._file, len(buffer))
            buffer[: len(data)] = data
            return len(data)

    def expect(self, at: int, count: int) -> None:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, at, count, os.POSIX_FADV_WILLNEED)


def _read_header(file: _OpenFile, key: str) -> tuple[int, _Trailer]:
    """Return box and trailer of a working file, which has exactly the size that it should have."""
    header = bytearray(_HEADER.size)
    try:
        file.read_into(memoryview(header), 0)
        magic, version, box, n, count, checksum, made_of = _HEADER.unpack(header)
        end = n * box**2 * _HALF + _PAGE
        if (magic, version, made_of.decode("ascii", "replace")) != (_MAGIC, VERSION, key):
            raise Damaged
        if file.size != end + count:
            raise Damaged
        data = bytearray(count)
        file.read_into(memoryview(data), end)
    except EOFError as error:
        raise Damaged from error
    if zlib.crc32(data) != checksum:
        raise Damaged
    return box, _Trailer.of_bytes(bytes(data))


def _host() -> bytes:
    return f"written on {socket.gethostname()}\n".encode()


def _neighbours(places: NDArray[np.int64]) -> list[slice]:
    """Return the parts of places, (m,), in which each is the one after the one before."""
    ends = np.flatnonzero(np.diff(places) != 1) + 1
    firsts = [0, *ends.tolist()] if len(places) else []
    return [slice(first, end) for first, end in pairwise([*firsts, len(places)])]


def _sums(images: NDArray[np.float16]) -> NDArray[np.uint64]:
    """Return the sum of the bytes of each image, (n, D, D), eight at a time, modulo 2⁶⁴; (n,)."""
    # D is even; adding takes a small part of the time that reading takes
    words = images.reshape(len(images), images.shape[-1] ** 2).view(np.uint64)
    sums: NDArray[np.uint64] = words.sum(1, np.uint64)
    return sums


def _bytes_of(images: NDArray[np.float16]) -> memoryview:
    return images.reshape(-1).view(np.uint8).data


def _write(file: int, data: memoryview, at: int) -> None:
    while data:
        if hasattr(os, "pwrite"):
            count = os.pwrite(file, data, at)
        else:  # pragma: no cover (Windows)
            os.lseek(file, at, os.SEEK_SET)
            count = os.write(file, data)
        data, at = data[count:], at + count
