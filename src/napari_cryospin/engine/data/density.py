"""Maps from atoms and from MRC files, and their resampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import scipy.fft

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

# a Gaussian of this many resolutions falls to 1/e at that resolution in Fourier space
_SIGMA_PER_RESOLUTION = 1 / (math.pi * math.sqrt(2))
_OVERSAMPLING = 2
# share of the box that a molecule spans by default
_SPAN = 2 / 3


def density_from_atoms(
    path: Path,
    *,
    box: int,
    pixel_size: float,
    resolution: float | None = None,
    chains: str | None = None,
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

    Raises
    ------
    InputError
        If the file cannot be read, holds no atoms, or does not fit the box.
    """
    points, weights = _atoms(path, chains)
    points -= np.average(points, axis=0, weights=weights)
    reach = float(np.abs(points).max())
    needed = 2 * math.ceil(reach / pixel_size + 2)
    if needed > box:
        raise InputError(
            f"{path} does not fit a box of {box} pixels of {pixel_size:g} Å: "
            f"choose a box of at least {needed} pixels, or larger pixels."
        )
    sigma = _SIGMA_PER_RESOLUTION * (resolution or 2 * pixel_size)
    return density_from_points(points, weights, box=box, pixel_size=pixel_size, sigma=sigma)


def fitting_pixel_size(path: Path, box: int) -> float:
    """Return the Å per pixel with which the molecule of a file spans two thirds of a box.

    Parameters
    ----------
    path
        PDB or mmCIF file (gzipped or not).
    box
        Side of the box, pixels.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no atoms.
    """
    points, weights = _atoms(path, None)
    points -= np.average(points, axis=0, weights=weights)
    # the farthest atom counts, so that the molecule fits whichever way it is turned
    span = 2 * float(np.linalg.norm(points, axis=1).max())
    return max(span, 1.0) / (_SPAN * box)


def _atoms(path: Path, chains: str | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import gemmi

    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as PDB or mmCIF: {error}.") from error
    structure.remove_waters()
    structure.remove_hydrogens()
    wanted = None if chains is None else set(chains.split(","))
    found = [
        (*atom.pos.tolist(), atom.occ * atom.element.atomic_number)
        for chain in (structure[0] if len(structure) else ())
        if wanted is None or chain.name in wanted
        for residue in chain
        for atom in residue
    ]
    if not found:
        where = "" if chains is None else f" in chains {chains}"
        raise InputError(f"{path} holds no atoms{where}.")
    table = np.array(found)
    return table[:, :3], table[:, 3]


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


def read_map(path: Path) -> tuple[NDArray[np.float32], float]:
    """Read a cubic MRC map.

    Returns
    -------
    volume
        Shape (D, D, D), (z, y, x).
    pixel_size
        Å per voxel.

    Raises
    ------
    InputError
        If the file is missing or damaged, no cube, or states no pixel size.
    """
    try:
        with mrcfile.open(path, permissive=False) as mrc:
            volume = np.array(mrc.data, dtype=np.float32)
            pixel_size = float(mrc.voxel_size.x)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an MRC map: {error}.") from error
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise InputError(f"{path} is no cubic map: its shape is {volume.shape}.")
    if not np.isfinite(volume).all():
        raise InputError(f"{path} holds values that are not finite: repair the map.")
    if pixel_size <= 0:
        raise InputError(f"{path} states no pixel size: set it in the header.")
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
    """
    volume = np.asarray(volume, dtype=np.float32)
    side = round(box * target_pixel_size / pixel_size)
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
