"""Writing MRC files so that a full disk is told: no memory map, and no file left open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mrcfile.mrcobject import MrcObject

from napari_cryospin.engine.files import writing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class _InMemory(MrcObject):  # type: ignore[misc]
    """Header and data of an MRC file that is written by us."""

    def __init__(self, data: NDArray[np.float32], pixel_size: float) -> None:
        super().__init__()
        self._create_default_attributes()
        self.set_data(np.ascontiguousarray(data, dtype=np.float32))
        self.voxel_size = pixel_size


def write_map(path: str | Path, volume: NDArray[np.float32], pixel_size: float) -> None:
    """Write a map as MRC.

    Parameters
    ----------
    path
        The file; what is there is replaced once the new file is whole.
    volume
        Shape (D, D, D), (z, y, x).
    pixel_size
        Å per voxel.

    Raises
    ------
    OSError
        If the file cannot be written; it names ``path``.
    """
    whole = _InMemory(volume, pixel_size)
    with writing(Path(path)) as file:
        file.write(whole.header.tobytes())
        file.write(memoryview(whole.data).cast("B"))


def write_mrcs(path: Path, parts: Iterable[NDArray[np.float32]], n: int, pixel_size: float) -> None:
    """Write a stack part by part; only one of them is in memory.

    Parameters
    ----------
    path
        The file; what is there is replaced once the new file is whole.
    parts
        Images, shapes (m, D, D), n of them together.
    n
        Number of images.
    pixel_size
        Å per pixel.

    Raises
    ------
    OSError
        If the file cannot be written; it names ``path``.
    ValueError
        If there are not n images.
    """
    written = 0
    with writing(path) as file:
        for part in parts:
            if not written:
                file.write(_stack_header(part[:1], n, pixel_size))
            file.write(np.ascontiguousarray(part, dtype=np.float32).data.cast("B"))
            written += len(part)
        if written != n:
            raise ValueError(f"{written} images were given, not {n}")


def _stack_header(first: NDArray[np.float32], n: int, pixel_size: float) -> bytes:
    whole = _InMemory(first, pixel_size)
    whole.set_image_stack()
    header = whole.header
    header.nz = n
    # the format's way to say that the statistics are not known
    header.dmin, header.dmax, header.dmean, header.rms = 0, -1, -2, -1
    content: bytes = header.tobytes()
    return content
