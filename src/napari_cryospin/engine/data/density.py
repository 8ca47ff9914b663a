"""Maps from atoms and from MRC files, and their resampling."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_cryospin.engine.data.assembly import assembled
from napari_cryospin.engine.data.mrc import read_volume
from napari_cryospin.engine.data.stack import one_line
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# a Gaussian of this many resolutions falls to 1/e at that resolution in Fourier space
_SIGMA_PER_RESOLUTION = 1 / (math.pi * math.sqrt(2))
_OVERSAMPLING = 2
# share of the box that a molecule spans by default
SPAN = 2 / 3
# how many times larger or smaller than a map the box of another may be
MOST_SCALE = 8
_SMALLEST_MAP = 4
# squares of values must stay within single precision
_LEAST_SPREAD, _LARGEST_VALUE = 1e-15, 1e15
# Å; the largest capsids are half of it
_MOST_EXTENT = 5000.0
_LEAST_SPAN = 1.0
_LARGEST_NUMBER = 1e7


def density_from_atoms(
    path: Path,
    *,
    box: int,
    pixel_size: float,
    resolution: float | None = None,
    chains: str | None = None,
    group: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Return the density of a PDB or mmCIF file (gzipped or not), centre of mass at the box centre.

    Atoms are Gaussians weighted by their atomic number; hydrogens and waters are left out.

    Parameters
    ----------
    path
        Coordinate file.
    box
        Side of the map, pixels.
    pixel_size
        Å per pixel.
    resolution
        Resolution of the map, Å; by default two pixels.
    chains
        Names of the chains to use, for example ``"A,B"``; by default all of the first model.
    group
        Rotations (g, 3, 3) of a symmetric assembly to make of copies.

    Raises
    ------
    InputError
        If the file cannot be read, holds no atoms, or does not fit the box.
    """
    points, weights = _atoms(path, chains, group)
    reach = float(np.abs(points).max())
    needed = 2 * math.ceil(reach / pixel_size + 2)
    if needed > box:
        raise InputError(
            f"{path} does not fit a box of {box} pixels of {pixel_size:g} Å: "
            f"choose a box of at least {needed} pixels, or larger pixels."
        )
    sigma = _SIGMA_PER_RESOLUTION * (resolution or 2 * pixel_size)
    return density_from_points(points, weights, box=box, pixel_size=pixel_size, sigma=sigma)


def fitting_pixel_size(path: Path, box: int, group: NDArray[np.float64] | None = None) -> float:
    """Return the Å per pixel with which the molecule of a file spans two thirds of a box.

    Parameters
    ----------
    path
        PDB or mmCIF file (gzipped or not).
    box
        Side of the box, pixels.
    group
        Rotations (g, 3, 3) of a symmetric assembly to make of copies.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no atoms, or all at one place.
    """
    points, _ = _atoms(path, None, group)
    # the farthest atom counts, so that the molecule fits whichever way it is turned
    span = 2 * float(np.linalg.norm(points, axis=1).max())
    if span < _LEAST_SPAN:
        raise InputError(
            f"{path}: all atoms are at one place, so that no pixel size fits; give one with "
            "--pixel-size."
        )
    return span / (SPAN * box)


def _atoms(
    path: Path, chains: str | None, group: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions about their centre of mass, (n, 3), Å, and weights, (n,)."""
    table = _read_atoms(path, None if chains is None else set(chains.split(",")))
    where = "" if chains is None else f" in chains {chains}"
    if not len(table):
        raise InputError(f"{path} holds no atoms{where}.")
    if not (np.abs(table) < _LARGEST_NUMBER).all():
        raise InputError(f"{path} is damaged: a coordinate or occupancy is no possible number.")
    table = table[table[:, 3] > 0]
    if not len(table):
        raise InputError(f"{path} holds no atoms{where} of a known element and an occupancy.")
    points, weights = table[:, :3], table[:, 3]
    extent = float(np.ptp(points, axis=0).max())
    if extent > _MOST_EXTENT:
        raise InputError(
            f"{path}: its atoms{where} lie {extent:.3g} Å apart, more than any molecule spans; "
            "the coordinates are damaged."
        )
    points -= np.average(points, axis=0, weights=weights)
    return (points, weights) if group is None else assembled(points, weights, group)


def _read_atoms(path: Path, chains: set[str] | None) -> NDArray[np.float64]:
    """Return x, y, z and weight of the atoms of the first model, shape (n, 4)."""
    import gemmi

    try:
        structure = gemmi.read_structure(str(path))
        structure.remove_waters()
        structure.remove_hydrogens()
        found = [
            (*atom.pos.tolist(), atom.occ * atom.element.atomic_number)
            for chain in (structure[0] if len(structure) else ())
            if chains is None or chain.name in chains
            for residue in chain
            for atom in residue
        ]
    except (RuntimeError, ValueError, OSError, IndexError, MemoryError) as error:
        raise InputError(f"{path} cannot be read as PDB or mmCIF: {one_line(error)}.") from error
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def density_from_points(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    *,
    box: int,
    pixel_size: float,
    sigma: float,
) -> NDArray[np.float32]:
    """Return the sum of Gaussians at points (x, y, z) in Å from the box centre, shape (D, D, D).

    Parameters
    ----------
    points, weights
        Shapes (n, 3) and (n,).
    box, pixel_size
        Side in pixels, and Å per pixel.
    sigma
        Standard deviation of the Gaussians, Å.
    """
    side = _OVERSAMPLING * box
    position = points[:, ::-1] * (_OVERSAMPLING / pixel_size) + side // 2
    corner = np.floor(position).astype(np.int64)
    fraction = position - corner
    fine = np.zeros(side**3)
    for offset in np.ndindex(2, 2, 2):
        share = np.where(offset, fraction, 1 - fraction).prod(1)
        flat = np.ravel_multi_index((corner + offset).T, (side,) * 3, mode="wrap")
        fine += np.bincount(flat, share * weights, side**3)
    spectrum = scipy.fft.fftn(fine.reshape((side,) * 3).astype(np.float32), workers=-1)
    k = scipy.fft.fftfreq(side)
    # the second factor undoes the blur of the trilinear deposit
    line = np.exp(-2 * (math.pi * sigma * _OVERSAMPLING / pixel_size * k) ** 2) / np.sinc(k) ** 2
    spectrum *= (line[:, None, None] * line[:, None] * line).astype(np.float32)
    blurred = scipy.fft.ifftn(spectrum, workers=-1).real
    # resizing keeps values; a point's weight lies in fewer voxels of the coarse grid
    return _OVERSAMPLING**3 * _fourier_resize(blurred, box)


def read_map(path: str | Path) -> tuple[NDArray[np.float32], float]:
    """Read a cubic MRC map, packed by gzip or not.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    volume
        Shape (D, D, D), (z, y, x), float32.
    pixel_size
        Å per voxel.

    Raises
    ------
    InputError
        If the file is missing or damaged, no cube, holds values beyond what can be computed with,
        or states no pixel size.
    """
    volume, layout = read_volume(Path(path))
    if len(set(volume.shape)) != 1 or volume.shape[0] < _SMALLEST_MAP:
        raise InputError(f"{path} is no cubic map: its shape is {volume.shape}.")
    if not np.isfinite(volume).all():
        raise InputError(f"{path} holds values that are not finite: repair the map.")
    if float(np.abs(volume).max()) > _LARGEST_VALUE:
        raise InputError(f"{path} holds values beyond {_LARGEST_VALUE:g}: repair the map.")
    if layout.pixel_size is None:
        raise InputError(f"{path} states no pixel size: set it in the header.")
    return volume, layout.pixel_size


def read_molecule(path: Path) -> tuple[NDArray[np.float32], float]:
    """Read a map as :func:`read_map` does, and require that there is something in it.

    Raises
    ------
    InputError
        As :func:`read_map`, or if all values are the same.
    """
    volume, pixel_size = read_map(path)
    if float(volume.std(dtype=np.float64)) < _LEAST_SPREAD:
        raise InputError(f"{path} holds the same value everywhere: there is no molecule in it.")
    return volume, pixel_size


def fit_map(
    volume: ArrayLike, pixel_size: float, box: int, target_pixel_size: float
) -> NDArray[np.float32]:
    """Return a map on another grid: cropped or padded in real, then in Fourier space.

    Parameters
    ----------
    volume
        Cubic map.
    pixel_size
        Its Å per voxel.
    box, target_pixel_size
        Side and Å per voxel of the result.

    Raises
    ------
    InputError
        If the two grids differ by so much that nothing of the map would be left.
    """
    volume = np.asarray(volume, dtype=np.float32)
    side = round(box * target_pixel_size / pixel_size)
    if not 1 / MOST_SCALE <= side / volume.shape[0] <= MOST_SCALE:
        raise InputError(
            f"A map of {volume.shape[0]} voxels of {pixel_size:.3g} Å cannot be brought to "
            f"{box} voxels of {target_pixel_size:.3g} Å: check the pixel sizes in the headers."
        )
    return _fourier_resize(_real_resize(volume, side), box)


def _real_resize(volume: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Crop or zero-pad about the voxel D // 2."""
    old = volume.shape[0]
    start = old // 2 - side // 2
    taken = slice(max(start, 0), min(start + side, old))
    result = np.zeros((side,) * 3, dtype=np.float32)
    placed = slice(max(-start, 0), max(-start, 0) + taken.stop - taken.start)
    result[placed, placed, placed] = volume[taken, taken, taken]
    return result


def _fourier_resize(volume: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Crop or zero-pad in Fourier space; density values keep their scale."""
    old = volume.shape[0]
    if old == side:
        return np.asarray(volume, dtype=np.float32)
    spectrum = scipy.fft.fftshift(scipy.fft.fftn(scipy.fft.ifftshift(volume), workers=-1))
    common = min(old, side)
    result = np.zeros((side,) * 3, dtype=np.complex64)
    source = slice(old // 2 - common // 2, old // 2 - common // 2 + common)
    target = slice(side // 2 - common // 2, side // 2 - common // 2 + common)
    result[target, target, target] = spectrum[source, source, source]
    resized = scipy.fft.fftshift(scipy.fft.ifftn(scipy.fft.ifftshift(result), workers=-1))
    return np.asarray(resized.real * (side / old) ** 3, dtype=np.float32)
