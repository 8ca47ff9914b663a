"""The mirror images of a run's maps, which go with poses of the other hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import replacing
from napari_cryospin.engine.geometry.hand import mirrored_map
from napari_cryospin.engine.runfolder.class_files import map_of_class, of_class

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.runfolder.folder import RunFolder


def mirrored_paths(
    path: Path, classes: NDArray[np.integer] | None, asked: Collection[int]
) -> dict[Path, int | None]:
    """Return which files are written, each with the class whose map it holds, from 1.

    Parameters
    ----------
    path
        The file of a single map. That of one of several has the class in its name.
    classes
        Classes of the particles that are written, from 0, (n,); None where the run has one.
    asked
        The classes that were named, from 1. Of a single one there is a single map.
    """
    if classes is None:
        return {path: None}
    if len(set(asked)) == 1:
        return {path: next(iter(asked))}
    return {of_class(path, int(number) + 1): int(number) + 1 for number in np.unique(classes)}


def write_mirrored(path: Path, folder: RunFolder, number: int | None) -> str:
    """Write the mirror image of a run's newest map, of a class where there are several; say so.

    Raises
    ------
    InputError
        If the run has no map yet, or it cannot be read.
    OSError
        If the file cannot be written.
    """
    volume, pixel_size = read_map(_newest(folder, number))
    with replacing(path) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
        mrc.set_data(mirrored_map(volume))
        mrc.voxel_size = pixel_size
    return f"{path}: the mirror image of the map{'' if number is None else f' of class {number}'}."


def _newest(folder: RunFolder, number: int | None) -> Path:
    maps = folder.maps()
    if number is not None:
        own = (map_of_class(path, number) for path in maps)
        maps = [path for path in own if path.is_file()]
    if not maps:
        raise InputError(f"{folder.path} holds no map yet: wait for the end of its first epoch.")
    return maps[-1]
