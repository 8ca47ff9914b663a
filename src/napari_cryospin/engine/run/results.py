"""What a run leaves behind: the map, half-maps, their FSC, and the poses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.data.half_sets import half_sets_of
from napari_cryospin.engine.data.mrc_writer import write_map
from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.events import Progress
from napari_cryospin.engine.judging.halves import HalfMaps
from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.run.encoder_file import write_encoder
from napari_cryospin.engine.run.fullsize import first_group, full_size
from napari_cryospin.engine.run.half_comparison import compare
from napari_cryospin.engine.runfolder.fsc import TRUTH, TRUTH_MASKED

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.events import PosesUpdated
    from napari_cryospin.engine.half_resolution import HalfResolution
    from napari_cryospin.engine.run.training import Training
    from napari_cryospin.engine.run.truth import Truth
    from napari_cryospin.engine.runfolder.folder import RunFolder

_TASK = "Writing maps"


@dataclass(frozen=True)
class Results:
    """What a run has written.

    Parameters
    ----------
    resolution
        Where the FSC between the half-maps falls below 0.143.
    halves
        The half-maps.
    """

    resolution: HalfResolution
    halves: HalfMaps


@torch.no_grad()
def write_results(
    folder: RunFolder, training: Training, truth: Truth | None
) -> Generator[Progress, None, Results]:
    """Write the maps, ``fsc.csv`` and ``particles.star``.

    The maps are ``half1.mrc``, ``half2.mrc``, ``map.mrc``, and ``map_fullsize.mrc`` in the box of
    the particles on disk.

    The maps are closed-form back-projections of the images at their final poses, the map weighted
    by the FSC of the halves. Particles that were dropped from training, or have no pose yet, are in
    none of the files.
    """
    particles, poses = training.particles, training.poses
    # a run that was stopped has turned particles since its last epoch
    training.measure_fit()
    placed = training.placed
    used = placed.cpu().numpy()
    yield Progress(_TASK, 0, 3)
    halves = HalfMaps.of(particles, poses, placed, training.problem.group)
    maps = [_map(grid) for grid in halves.grids]
    for path, half in zip(folder.half_map_paths, maps, strict=True):
        write_map(path, half, particles.pixel_size)
    found = compare(training, halves)
    curve = found.unmasked
    yield Progress(_TASK, 2, 3)
    prior = torch.from_numpy((1 - curve) / np.clip(curve, 0.01, 1)).clamp(min=1e-3)
    volume = _map(divide(halves.sums[0] + halves.sums[1], prior))
    write_map(folder.map_path, volume, particles.pixel_size)
    optics = first_group(particles.table, particles.rows[used])
    own = full_size(volume, particles.pixel_size, optics)
    write_map(folder.full_size_path, own, optics.pixel_size)
    columns = found.columns
    rotations = poses.rotations.cpu().numpy()
    shifts = poses.shifts.cpu().numpy() * particles.pixel_size
    comparison = truth.compare(rotations, shifts, used, volume, found.mask) if truth else None
    if comparison is not None and comparison.fsc is not None:
        columns[TRUTH] = comparison.fsc
        if comparison.masked is not None:
            columns[TRUTH_MASKED] = comparison.masked
    folder.write_fsc(columns, particles.pixel_size)
    write_star(
        folder.star_path,
        particles.table,
        particles.rows[used],
        rotations=rotations[used].astype(np.float64),
        shifts=shifts[used].astype(np.float64),
        half_set=half_sets_of(particles.table.half_set, particles.rows, used),
        scales=poses.scales.cpu().numpy()[used],
        membership=poses.membership.cpu().numpy()[used],
        log_likelihood=training.fit.log_likelihood.cpu().numpy()[used],
        explained=training.fit.explained.cpu().numpy()[used],
    )
    write_encoder(folder, training)
    yield Progress(_TASK, 3, 3)
    return Results(found.resolution, halves)


def write_selection(
    path: Path, particles: Particles, rows: NDArray[np.int64], poses: PosesUpdated
) -> None:
    """Write some particles with poses as a star file.

    Parameters
    ----------
    path
        The star file.
    particles
        The particles in use.
    rows
        Rows of the working stack, shape (m,).
    poses
        Poses of all particles.
    """
    write_star(
        path,
        particles.table,
        particles.rows[rows],
        rotations=poses.rotations[rows].astype(np.float64),
        shifts=poses.shifts[rows].astype(np.float64),
        scales=poses.scales[rows],
        membership=poses.membership[rows],
        log_likelihood=poses.log_likelihood[rows],
        explained=poses.explained[rows],
    )


def write_set_aside(folder: RunFolder, particles: Particles) -> None:
    """Write ``set_aside.csv``, which particles are not used because of their images, if any."""
    if len(particles.set_aside.rows):
        particles.set_aside.write(folder.set_aside_path, particles.table)


def _map(grid: Tensor) -> NDArray[np.float32]:
    result: NDArray[np.float32] = map_of_grid(grid).cpu().numpy()
    return result
