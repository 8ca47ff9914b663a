"""Writing a simulated stack: its table, its images, its truth."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import mrcfile
import numpy as np

from napari_cryospin.engine.data.belonging import MEMBERSHIP
from napari_cryospin.engine.data.class_columns import CLASS
from napari_cryospin.engine.data.nuisances import Nuisances, Views
from napari_cryospin.engine.data.simulated_names import (
    IMAGES,
    SECOND_TRUE_MAP,
    TABLE,
    TRUE_MAP,
    TRUE_TABLE,
)
from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.data.table import Defocus, OpticsGroup, ParticleTable
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import replacing, require_absent
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.simulate.fragments import radius_of
from napari_cryospin.engine.simulate.groups import MICROGRAPH, in_groups, micrograph_names
from napari_cryospin.engine.simulate.images import Transfer
from napari_cryospin.engine.simulate.painting import Painting
from napari_cryospin.engine.simulate.scene import Scene, plan
from napari_cryospin.engine.simulate.streams import Stream, stream
from napari_cryospin.engine.simulate.views import preferred_rotations

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

_VOLTAGE, _CS, _AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1  # kV, mm
_ASTIGMATISM = 200.0
_NAMES = (IMAGES, TABLE, TRUE_TABLE, TRUE_MAP, SECOND_TRUE_MAP)
_MOST_PARTICLES, _LEAST_SNR = 100_000_000, 1e-9


def require_new_stack(folder: Path) -> None:
    """Raise InputError where a simulation into a folder would replace a file."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another folder.")
    require_absent((folder / name for name in _NAMES), "choose another folder")


def simulate(
    volume: ArrayLike,
    out: str | Path,
    *,
    n_particles: int,
    pixel_size: float,
    snr: float,
    shift_std: float = 0.0,
    seed: int = 0,
    defocus_range: tuple[float, float] = (10_000.0, 20_000.0),
    second: ArrayLike | None = None,
    nuisances: Nuisances | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ParticleTable:
    """Write ``particles.mrcs``, ``particles.star``, ``truth.star`` and ``truth.mrc`` to a folder.

    By default poses are uniform, shifts Gaussian, defocus uniform with a little astigmatism, noise
    white, and every image shows a particle. ``particles.star`` holds CTF and optics but no poses,
    and nothing of the truth. Particles are white, as RELION's.

    ``truth.star`` has true poses, shifts, defocus and amplitude contrast; ``rlnClassNumber`` (1 or
    2: the structure, 0: junk), ``cryospinMembership`` (1: particle, 0: junk), ``cryospinScale``
    (contrast), ``cryospinJunk`` (its kind, or "none") and ``cryospinBead`` (1: with a gold bead).
    The pose of junk means nothing.

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
        Variance of the clean images of particles over variance of the noise.
    shift_std
        Standard deviation of the origin shifts along each axis, Å.
    seed
        Random seed; the same seed gives the same files.
    defocus_range
        Smallest and largest defocus, Å.
    second
        Map of a second structure, (D, D, D), which is written to ``truth_class2.mrc``.
    nuisances
        What makes the stack unkind; by default nothing.
    progress
        Called with the number of images done and their total.

    Returns
    -------
    ParticleTable
        The table of ``particles.star``, without poses.

    Raises
    ------
    InputError
        If what is asked for is not possible, the folder cannot be made, or it holds one of the
        files.
    """
    given, out = [volume] if second is None else [volume, second], Path(out)
    maps = [np.asarray(each, dtype=np.float32) for each in given]
    _require_maps(maps, pixel_size)
    nuisances = nuisances or Nuisances()
    box = len(maps[0])
    side = box * pixel_size
    _require_possible(n_particles, snr, shift_std, side)
    _require_drawn(seed, defocus_range)
    nuisances.require_possible()
    if shift_std and nuisances.off_centre:
        raise InputError("Give --shift-std (Å) or --off-centre (share of the box), not both.")
    require_new_stack(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {out} cannot be made: {error.strerror}.") from error
    rng = np.random.default_rng(seed)
    moved = shift_std or nuisances.off_centre * side
    path = out / IMAGES
    table = _random_table(path, box, n_particles, pixel_size, moved, defocus_range, rng)
    table = in_groups(table, nuisances.groups, defocus_range, seed)
    several = nuisances.groups > 1
    own: dict[str, ArrayLike] = {MICROGRAPH: micrograph_names(n_particles)} if several else {}
    truth = _true_table(table, nuisances, seed)
    radius = max(map(radius_of, maps))
    scene = plan(n_particles, box, radius, nuisances, seed, two=second is not None)
    rows = np.arange(n_particles)
    blind = replace(table, rotations=None, shifts=None)
    # all under temporary names until the last is complete; the table, which is opened, comes last
    with ExitStack() as files:
        true_maps = [TRUE_MAP] if second is None else [TRUE_MAP, SECOND_TRUE_MAP]
        names = [TABLE, TRUE_TABLE, *true_maps, IMAGES]
        new = {name: files.enter_context(replacing(out / name)) for name in names}
        painting = Painting(maps, Transfer(truth, nuisances.envelope), scene, nuisances, seed)
        _write_images(new[IMAGES], painting, snr, rng, progress)
        write_star(new[TABLE], blind, rows, rotations=None, shifts=None, more=own)
        write_star(
            new[TRUE_TABLE],
            truth,
            rows,
            rotations=truth.rotations,
            shifts=truth.shifts,
            scales=scene.contrast,
            more=_truth_columns(scene) | own,
        )
        for name, each in zip(true_maps, maps, strict=True):
            with mrcfile.new(new[name], overwrite=True) as mrc:
                mrc.set_data(each)
                mrc.voxel_size = pixel_size
        require_new_stack(out)
    return blind


def _require_maps(maps: list[NDArray[np.float32]], pixel_size: float) -> None:
    for volume in maps:
        sides = set(volume.shape)
        if volume.ndim != 3 or len(sides) > 1 or len(volume) % 2 or not len(volume):
            raise InputError(f"A map must be a cube of even side, not of shape {volume.shape}.")
        if volume.shape != maps[0].shape:
            raise InputError(
                f"Two structures need maps of one shape, not {maps[0].shape} and {volume.shape}."
            )
        if not np.isfinite(volume).all() or not volume.any():
            raise InputError("A map must hold finite numbers, and not zeros alone.")
    if not 0 < pixel_size < math.inf:
        raise InputError(f"A pixel size must be above 0 Å, and {pixel_size:g} is not.")


def _require_drawn(seed: int, defocus_range: tuple[float, float]) -> None:
    if seed < 0:
        raise InputError(f"A seed must be 0 or more, and {seed} is not.")
    least, most = defocus_range
    if not -math.inf < least <= most < math.inf:
        raise InputError(f"No defocus lies between {least:g} and {most:g} Å.")


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


def _true_table(table: ParticleTable, nuisances: Nuisances, seed: int) -> ParticleTable:
    """Return the table as it is in truth, where the one that is written errs."""
    n, defocus, optics = table.n_particles, table.defocus, table.optics
    assert defocus is not None
    if nuisances.defocus_error:
        error = stream(seed, Stream.DEFOCUS).normal(0, nuisances.defocus_error, n)
        u, v = ((value + error).astype(np.float32) for value in (defocus.u, defocus.v))
        defocus = replace(defocus, u=u, v=v)
    if nuisances.true_amplitude_contrast is not None:
        true = nuisances.true_amplitude_contrast
        optics = tuple(replace(group, amplitude_contrast=true) for group in optics)
    rotations = table.rotations
    if nuisances.views != Views.UNIFORM:
        rng = stream(seed, Stream.VIEWS)
        rotations = preferred_rotations(n, nuisances.views, nuisances.view_angle, rng)
    return replace(table, defocus=defocus, optics=optics, rotations=rotations)


def _truth_columns(scene: Scene) -> dict[str, ArrayLike]:
    return {
        CLASS: scene.class_number,
        MEMBERSHIP: scene.belongs.astype(np.int64),
        "cryospinJunk": ["none" if kind is None else kind.value for kind in scene.junk],
        "cryospinBead": scene.with_bead.astype(np.int64),
    }


def _write_images(
    path: Path,
    painting: Painting,
    snr: float,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write clean images first, for their variance, and then what lies over them."""
    n, box = painting.n, painting.box

    def report(done: int) -> None:
        if progress:
            progress(done // 2, n)

    with mrcfile.new_mmap(path, (n, box, box), mrc_mode=2, overwrite=True) as mrc:
        _reserve(path)
        mrc.set_image_stack()
        mrc.voxel_size = painting.pixel_size
        variance = painting.molecules(mrc.data, report)
        painting.noise(mrc.data, variance, snr, rng, lambda done: report(n + done))
        mrc.update_header_from_data()
        mrc.update_header_stats()


def _reserve(path: Path) -> None:
    """Take all the room that a file needs: a mapped page without room would end the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
