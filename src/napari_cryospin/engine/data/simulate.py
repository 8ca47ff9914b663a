"""The simulator: a map becomes a particle stack with known truth, as in the paper's experiments."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import torch

from napari_cryospin.engine.data.ctf import ctf
from napari_cryospin.engine.data.density import (
    MOST_SCALE,
    density_from_atoms,
    fit_map,
    fitting_pixel_size,
    read_molecule,
)
from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.data.table import Defocus, OpticsGroup, ParticleTable
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import replacing, require_absent
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

_VOLTAGE, _CS, _AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1  # kV, mm
_ASTIGMATISM = 200.0
_NAMES = ("particles.mrcs", "particles.star", "truth.star", "truth.mrc")
_MOST_PARTICLES, _LEAST_SNR = 100_000_000, 1e-9
_CHUNK_FLOATS = 16_000_000
_MAP_SUFFIXES = (".mrc", ".map", ".ccp4", ".mrc.gz", ".map.gz")


def source_map(
    path: Path, *, box: int, pixel_size: float | None, resolution: float | None = None
) -> tuple[NDArray[np.float32], float]:
    """Return the map to simulate from, and its Å per pixel: from atoms, or from an MRC map.

    Parameters
    ----------
    path
        PDB, mmCIF (gzipped or not) or MRC file.
    box
        Side of the result, pixels.
    pixel_size
        Å per pixel of the result; by default an MRC map keeps its extent, and a molecule spans
        two thirds of the box.
    resolution
        Resolution of a density made from atoms, Å.

    Raises
    ------
    InputError
        If the file cannot be used, or the molecule does not fit the box.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a PDB, mmCIF or MRC file.")
    for name, value in (("pixel size", pixel_size), ("resolution", resolution)):
        if value is not None and not 0 < value < np.inf:
            raise InputError(f"The {name} must be above 0 Å, and {value:g} is not.")
    if path.name.lower().endswith(_MAP_SUFFIXES):
        return _fitted_map(path, box, pixel_size)
    if pixel_size is None:
        pixel_size = fitting_pixel_size(path, box)
    volume = density_from_atoms(path, box=box, pixel_size=pixel_size, resolution=resolution)
    return volume, pixel_size


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


def require_new_stack(folder: Path) -> None:
    """Raise InputError where a simulation into a folder would replace a file."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another folder.")
    require_absent((folder / name for name in _NAMES), "choose another folder")


def simulate(
    volume: ArrayLike,
    out: Path,
    *,
    n_particles: int,
    pixel_size: float,
    snr: float,
    shift_std: float = 0.0,
    seed: int = 0,
    defocus_range: tuple[float, float] = (10_000.0, 20_000.0),
    progress: Callable[[int, int], None] | None = None,
) -> ParticleTable:
    """Write ``particles.mrcs``, ``particles.star``, ``truth.star`` and ``truth.mrc`` to a folder.

    Poses are uniform, shifts Gaussian, defocus uniform with a little astigmatism, noise white.
    ``particles.star`` holds CTF and optics but no poses. Particles are white, as RELION's.

    Parameters
    ----------
    volume
        Map (D, D, D), (z, y, x), D even.
    out
        Folder; made where it does not exist.
    n_particles
        Number of images.
    pixel_size
        Å per pixel.
    snr
        Variance of the clean images over variance of the noise.
    shift_std
        Standard deviation of the origin shifts along each axis, Å.
    seed
        Random seed; the same seed gives the same files.
    defocus_range
        Smallest and largest defocus, Å.
    progress
        Called with the number of images done and their total.

    Raises
    ------
    InputError
        If the number of particles, the SNR or the shifts are not possible, the folder cannot be
        made, or it holds one of the files.
    """
    volume = np.asarray(volume, dtype=np.float32)
    _require_possible(n_particles, snr, shift_std, volume.shape[0] * pixel_size)
    require_new_stack(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {out} cannot be made: {error.strerror}.") from error
    rng = np.random.default_rng(seed)
    table = _random_table(
        out / "particles.mrcs",
        volume.shape[0],
        n_particles,
        pixel_size,
        shift_std,
        defocus_range,
        rng,
    )
    rows = np.arange(n_particles)
    blind = replace(table, rotations=None, shifts=None)
    # all under temporary names until the last is complete; the table, which is opened, comes last
    with (
        replacing(out / "particles.star") as star,
        replacing(out / "truth.star") as truth_star,
        replacing(out / "truth.mrc") as truth_map,
        replacing(out / "particles.mrcs") as images,
    ):
        _write_images(images, volume, table, snr, rng, progress)
        write_star(star, blind, rows, rotations=None, shifts=None)
        write_star(truth_star, table, rows, rotations=table.rotations, shifts=table.shifts)
        with mrcfile.new(truth_map, overwrite=True) as mrc:
            mrc.set_data(volume)
            mrc.voxel_size = pixel_size
        require_new_stack(out)
    return blind


def _require_possible(n_particles: int, snr: float, shift_std: float, side: float) -> None:
    if n_particles < 1 or not snr > 0:
        raise InputError("A simulation needs at least one particle and an SNR above 0.")
    if n_particles > _MOST_PARTICLES:
        raise InputError(f"A simulation makes at most {_MOST_PARTICLES:,} particles.")
    if snr < _LEAST_SNR:
        raise InputError(
            f"At an SNR of {snr:g}, images hold nothing but noise: choose a larger one."
        )
    if not 0 <= shift_std <= side:
        raise InputError(
            f"Shifts must not be larger than the images, {side:.4g} Å: choose a smaller standard "
            "deviation."
        )


def _random_table(
    stack: Path,
    box: int,
    n: int,
    pixel_size: float,
    shift_std: float,
    defocus_range: tuple[float, float],
    rng: np.random.Generator,
) -> ParticleTable:
    zeros = np.zeros(n, dtype=np.int64)
    mean = rng.uniform(*defocus_range, n)
    half_difference = rng.uniform(0, _ASTIGMATISM, n) / 2
    defocus = Defocus(
        u=(mean + half_difference).astype(np.float32),
        v=(mean - half_difference).astype(np.float32),
        angle=rng.uniform(0, 180, n).astype(np.float32),
        phase_shift=np.zeros(n, dtype=np.float32),
    )
    return ParticleTable(
        source=stack.with_suffix(".star"),
        stacks=(stack,),
        stack_index=zeros,
        image_index=np.arange(n),
        optics=(OpticsGroup("simulated", pixel_size, box, _VOLTAGE, _CS, _AMPLITUDE_CONTRAST),),
        optics_index=zeros,
        defocus=defocus,
        rotations=random_rotations(n, rng),
        shifts=rng.normal(0, shift_std, (n, 2)),
    )


def _write_images(
    path: Path,
    volume: NDArray[np.float32],
    table: ParticleTable,
    snr: float,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write clean images first, for their variance, and then the noise onto them."""
    n, box = table.n_particles, volume.shape[0]
    chunks = np.array_split(np.arange(n), max(1, -(-n * box**2 // _CHUNK_FLOATS)))
    with mrcfile.new_mmap(path, (n, box, box), mrc_mode=2, overwrite=True) as mrc:
        _reserve(path)
        mrc.set_image_stack()
        mrc.voxel_size = table.pixel_size
        clean = _CleanImages(volume, table)
        total = squares = 0.0
        for rows in chunks:
            images = clean.images(rows)
            mrc.data[rows[0] : rows[-1] + 1] = images
            total += float(images.sum(dtype=np.float64))
            squares += float(np.square(images, dtype=np.float64).sum())
            if progress:
                progress(int(rows[-1]) + 1, n)
        mean = total / (n * box**2)
        noise = np.float32(np.sqrt((squares / (n * box**2) - mean**2) / snr))
        for rows in chunks:
            shape = (len(rows), box, box)
            mrc.data[rows[0] : rows[-1] + 1] += noise * rng.standard_normal(shape, np.float32)
        mrc.update_header_from_data()
        mrc.update_header_stats()


def _reserve(path: Path) -> None:
    """Take all the room that a file needs: a mapped page without room would end the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


class _CleanImages:
    """Projections of a map with shifts and CTF."""

    def __init__(self, volume: NDArray[np.float32], table: ParticleTable) -> None:
        self.table = table
        self.box = volume.shape[0]
        self.model = ImageModel.within(self.box, self.box / 2)
        self.projector = Projector(torch.from_numpy(volume))

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the images of particles, shape (n, D, D)."""
        table, model = self.table, self.model
        assert table.rotations is not None and table.shifts is not None and table.defocus
        rotations = torch.from_numpy(table.rotations[rows]).float()
        slices = self.projector.slices(rotations, model.frequencies)
        # the content of an image lies at minus its origin shift
        shifts = torch.from_numpy(-table.shifts[rows] / table.pixel_size).float()
        moved = model.shift(slices, shifts)
        clean: NDArray[np.float32] = model.images(self._ctf(rows) * moved).numpy()
        return clean

    def _ctf(self, rows: NDArray[np.int64]) -> torch.Tensor:
        defocus = self.table.defocus
        assert defocus is not None
        columns = {
            name: torch.from_numpy(getattr(defocus, name)[rows])
            for name in ("u", "v", "angle", "phase_shift")
        }
        constants = {
            "voltage": _VOLTAGE,
            "cs": _CS,
            "amplitude_contrast": _AMPLITUDE_CONTRAST,
        }
        columns |= {name: torch.full((len(rows),), value) for name, value in constants.items()}
        return ctf(self.model.frequencies / (self.box * self.table.pixel_size), **columns)
