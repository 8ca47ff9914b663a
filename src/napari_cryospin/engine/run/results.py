"""What a run leaves behind: the map, half-maps, their FSC, and the poses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from napari_cryospin.engine.data.class_columns import class_columns
from napari_cryospin.engine.data.half_sets import half_sets_of
from napari_cryospin.engine.data.mrc_writer import write_map
from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.events import Progress
from napari_cryospin.engine.judging.halves import HalfMaps
from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.run.encoder_file import write_encoder
from napari_cryospin.engine.run.fullsize import first_group, full_size
from napari_cryospin.engine.run.half_comparison import HalfComparison, compare
from napari_cryospin.engine.runfolder.class_files import of_class
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
    from napari_cryospin.engine.run.truth import Comparison, Truth
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.state.pose_table import PoseTable

_TASK = "Writing maps"


@dataclass(frozen=True)
class Results:
    """What a run has written.

    Parameters
    ----------
    resolution
        Where the FSC between the half-maps falls below 0.143.
    halves
        The half-maps of each class; None of one that nobody is in.
    """

    resolution: HalfResolution
    halves: tuple[HalfMaps | None, ...]


@dataclass(frozen=True)
class _OfClass:
    """The maps of a class: of its halves, how these compare, and of both together."""

    halves: HalfMaps
    comparison: HalfComparison
    volume: NDArray[np.float32]
    half_maps: tuple[NDArray[np.float32], NDArray[np.float32]]

    @classmethod
    def of(cls, training: Training) -> Self:
        """Make the maps of a run of one class."""
        particles, group = training.particles, training.problem.group
        halves = HalfMaps.of(particles, training.poses, training.placed, group)
        one, two = (_map(grid) for grid in halves.grids)
        found = compare(training, halves)
        curve = found.unmasked
        prior = torch.from_numpy((1 - curve) / np.clip(curve, 0.01, 1)).clamp(min=1e-3)
        volume = _map(divide(halves.sums[0] + halves.sums[1], prior))
        return cls(halves, found, volume, (one, two))

    def write(self, paths: tuple[Path, Path, Path], pixel_size: float) -> None:
        """Write half-maps and map."""
        for path, volume in zip(paths, (*self.half_maps, self.volume), strict=True):
            write_map(path, volume, pixel_size)


@torch.no_grad()
def write_results(
    folder: RunFolder, training: Training, truth: Truth | None
) -> Generator[Progress, None, Results]:
    """Write the maps, ``fsc.csv`` and ``particles.star``.

    The maps are ``half1.mrc``, ``half2.mrc``, ``map.mrc``, and ``map_fullsize.mrc`` in the box of
    the particles on disk. Of several classes these are those of the largest one, and all are in
    ``half1_class1.mrc``, ``half2_class1.mrc``, ``map_class1.mrc`` and so on; one that nobody is in
    has no half-maps, and the map that it was left with.

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
    several, paths = bool(training.problem.others), (*folder.half_map_paths, folder.map_path)
    made: list[_OfClass | None] = []
    for number, _ in enumerate(training.problem.maps):
        own = training.of_class(number) if several else training
        made.append(_OfClass.of(own) if bool((own.used & placed).any()) else None)
        if several:
            one, two, both = (of_class(path, number + 1) for path in paths)
            if (last := made[-1]) is not None:
                last.write((one, two, both), particles.pixel_size)
                continue
            # its map as it was left, for maps are numbered by their order
            write_map(both, _map(training.problem.grids[number]), particles.pixel_size)
            for path in (one, two):
                path.unlink(missing_ok=True)
    main = made[training.main_class]
    assert main is not None, "no particle is in use"
    main.write(paths, particles.pixel_size)
    yield Progress(_TASK, 2, 3)
    optics = first_group(particles.table, particles.rows[used])
    whole = full_size(main.volume, particles.pixel_size, optics)
    write_map(folder.full_size_path, whole, optics.pixel_size)
    columns = main.comparison.columns
    rotations = poses.rotations.cpu().numpy()
    shifts = poses.shifts.cpu().numpy() * particles.pixel_size
    comparison = _beside_truth(truth, training, made, (rotations, shifts))
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
        more=_class_columns(poses, used),
    )
    write_encoder(folder, training)
    yield Progress(_TASK, 3, 3)
    halves = tuple(None if each is None else each.halves for each in made)
    return Results(main.comparison.resolution, halves)


def _class_columns(poses: PoseTable, used: NDArray[np.bool_]) -> dict[str, NDArray[np.generic]]:
    if poses.n_classes == 1:
        return {}
    return class_columns(poses.classes.cpu().numpy()[used], poses.class_weights.cpu().numpy()[used])


def _beside_truth(
    truth: Truth | None,
    training: Training,
    made: list[_OfClass | None],
    poses: tuple[NDArray[np.float32], NDArray[np.floating]],
) -> Comparison | None:
    """Compare the class that shows most of the truth's particles with it, where it is known."""
    classes = training.poses.classes.cpu().numpy() if training.problem.others else None
    if truth is None:
        return None
    number, used = truth.class_of(classes, training.placed.cpu().numpy())
    own = made[number]
    if own is None:
        return None
    return truth.compare(*poses, used, own.volume, own.comparison.mask)


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
        more=class_columns(
            None if poses.classes is None else poses.classes[rows],
            None if poses.class_weights is None else poses.class_weights[rows],
        ),
    )


def write_set_aside(folder: RunFolder, particles: Particles) -> None:
    """Write ``set_aside.csv``, which particles are not used because of their images, if any."""
    if len(particles.set_aside.rows):
        particles.set_aside.write(folder.set_aside_path, particles.table)


def _map(grid: Tensor) -> NDArray[np.float32]:
    result: NDArray[np.float32] = map_of_grid(grid).cpu().numpy()
    return result
