"""The maps to simulate from: of atoms or of a map, alone, as an assembly, or two together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.density import (
    MOST_SCALE,
    density_from_atoms,
    fit_map,
    fitting_pixel_size,
    read_molecule,
)
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.simulate.assembled_map import assembled_map
from napari_cryospin.engine.simulate.fragments import centred_on_mass

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAP_SUFFIXES = (".mrc", ".map", ".ccp4", ".mrc.gz", ".map.gz")


def source_map(
    path: str | Path,
    *,
    box: int,
    pixel_size: float | None = None,
    resolution: float | None = None,
    symmetry: str = "C1",
) -> tuple[NDArray[np.float32], float]:
    """Return the map to simulate from, and its Å per pixel: from atoms, or from an MRC map.

    Parameters
    ----------
    path
        PDB, mmCIF (gzipped or not) or MRC file.
    box
        Side of the result, pixels.
    pixel_size
        Å per pixel of the result; by default an MRC map keeps its extent, and a molecule, or an
        assembly, spans two thirds of the box.
    resolution
        Resolution of a density made from atoms, Å.
    symmetry
        Point group of an assembly made of copies, see :mod:`napari_cryospin.engine.data.assembly`.

    Returns
    -------
    volume
        Shape (D, D, D), (z, y, x), float32.
    pixel_size
        Å per pixel.

    Raises
    ------
    InputError
        If the file cannot be used, or the molecule does not fit the box.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a PDB, mmCIF or MRC file.")
    for name, value in (("pixel size", pixel_size), ("resolution", resolution)):
        if value is not None and not 0 < value < np.inf:
            raise InputError(f"The {name} must be above 0 Å, and {value:g} is not.")
    group = point_group(symmetry)
    single = len(group) == 1
    if _is_map(path):
        if not single:
            volume, own = read_molecule(path)
            return assembled_map(volume, own, group, box=box, pixel_size=pixel_size, path=path)
        return _fitted_map(path, box, pixel_size)
    if pixel_size is None:
        pixel_size = fitting_pixel_size(path, box, None if single else group)
    volume = density_from_atoms(
        path, box=box, pixel_size=pixel_size, resolution=resolution, group=None if single else group
    )
    return volume, pixel_size


def two_source_maps(
    first: Path,
    second: Path,
    *,
    box: int,
    pixel_size: float | None,
    resolution: float | None = None,
    symmetry: str = "C1",
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Return two maps of one pixel size, each with its centre of mass in the middle of the box.

    Densities of atoms keep their own strength; where one of the sources is an MRC map, whose unit
    is not known, the second map gets the standard deviation of the first.

    Parameters
    ----------
    first, second
        As ``path`` of :func:`source_map`.
    box, pixel_size, resolution, symmetry
        As there; by default the pixel size is the larger of what the two would have.

    Returns
    -------
    first, second
        Maps, (D, D, D).
    pixel_size
        Å per pixel.
    """

    def of(path: Path, size: float | None) -> tuple[NDArray[np.float32], float]:
        return source_map(path, box=box, pixel_size=size, resolution=resolution, symmetry=symmetry)

    size = pixel_size or max(of(path, None)[1] for path in (first, second))
    a, b = (of(path, size)[0] for path in (first, second))
    if _is_map(first) or _is_map(second):
        a, b = centred_on_mass(a), centred_on_mass(b)
        b *= a.std() / b.std()
    return a, b, size


def _is_map(path: Path) -> bool:
    return path.name.lower().endswith(_MAP_SUFFIXES)


def _fitted_map(
    path: Path, box: int, pixel_size: float | None
) -> tuple[NDArray[np.float32], float]:
    volume, own = read_molecule(path)
    fitting = own * volume.shape[0] / box
    target = pixel_size or fitting
    if not 1 / MOST_SCALE <= target / fitting <= MOST_SCALE:
        raise InputError(
            f"A box of {box} pixels of {target:g} Å does not suit {path}: "
            f"choose a pixel size near {fitting:.3g} Å."
        )
    return fit_map(volume, own, box, target), target
