"""What a run leaves behind: the map, half-maps, their FSC, and the poses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.evaluation.fsc import fsc, resolution
from napari_cryospin.engine.geometry.slices import insert_slices
from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.run.events import Progress
from napari_cryospin.engine.run.fullsize import first_group, full_size

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.inference.poses import PoseTable
    from napari_cryospin.engine.run.events import PosesUpdated
    from napari_cryospin.engine.run.folder import RunFolder
    from napari_cryospin.engine.run.training import Training
    from napari_cryospin.engine.run.truth import Truth

_TASK = "Writing maps"


@torch.no_grad()
def write_results(
    folder: RunFolder, training: Training, truth: Truth | None
) -> Generator[Progress, None, float | None]:
    """Write the maps, ``fsc.csv`` and ``particles.star``.

    The maps are ``half1.mrc``, ``half2.mrc``, ``map.mrc``, and ``map_fullsize.mrc`` in the box of
    the particles on disk.

    The maps are closed-form back-projections of the images at their final poses, the map weighted
    by the FSC of the halves. Both halves share one pose search, so their FSC is an upper bound.
    Particles that were dropped from training are in none of the files.

    Returns
    -------
    float or None
        Resolution where the FSC between the half-maps falls below 0.143, Å.
    """
    stack, poses = training.stack, training.poses
    # a run that was stopped has turned particles since its last epoch
    training.measure_fit()
    model = ImageModel.within(stack.box, stack.box / 2, stack.images.device)
    used = training.used.cpu().numpy()
    halves = half_sets(stack.table.half_set, stack.rows[used])
    sums = []
    for number in (1, 2):
        yield Progress(_TASK, number - 1, 3)
        rows = torch.from_numpy(np.flatnonzero(used)[halves == number]).to(stack.images.device)
        sums.append(back_project(stack, poses, rows, model))
        folder.write_map(f"half{number}.mrc", _map(divide(sums[-1])), stack.pixel_size)
    curve = fsc(_map(divide(sums[0])), _map(divide(sums[1])))
    yield Progress(_TASK, 2, 3)
    prior = torch.from_numpy((1 - curve) / np.clip(curve, 0.01, 1)).clamp(min=1e-3)
    volume = _map(divide(sums[0] + sums[1], prior))
    folder.write_map("map.mrc", volume, stack.pixel_size)
    optics = first_group(stack.table, stack.rows[used])
    own = full_size(volume, stack.pixel_size, optics)
    folder.write_map("map_fullsize.mrc", own, optics.pixel_size)
    columns = {"fsc_halves": curve}
    rotations = poses.rotations.cpu().numpy()
    shifts = poses.shifts.cpu().numpy() * stack.pixel_size
    comparison = truth.compare(rotations, shifts, used, volume) if truth else None
    if comparison is not None and comparison.fsc is not None:
        columns["fsc_truth"] = comparison.fsc
    folder.write_fsc(columns, stack.pixel_size)
    write_star(
        folder.star_path,
        stack.table,
        stack.rows[used],
        rotations=rotations[used].astype(np.float64),
        shifts=shifts[used].astype(np.float64),
        half_set=halves,
        scales=poses.scales.cpu().numpy()[used],
        log_likelihood=training.fit.log_likelihood.cpu().numpy()[used],
        explained=training.fit.explained.cpu().numpy()[used],
    )
    yield Progress(_TASK, 3, 3)
    return resolution(curve, stack.pixel_size, 0.143)


def back_project(
    stack: WorkingStack, poses: PoseTable, rows: Tensor, model: ImageModel, *, batch: int = 512
) -> Tensor:
    """Return the sums of CTF·image and CTF² of particles at their poses, (2, D+1, D+1, D+1).

    A particle's scale multiplies its CTF, as in training.
    """
    side = stack.box + 1
    total = torch.zeros(2, side, side, side, device=stack.images.device)
    for part in rows.split(batch):
        observed = model.coefficients(stack.images[part])
        observed = model.shift(observed, poses.shifts[part])
        ctf = stack.ctf(part, model.frequencies) * poses.scales[part, None]
        values = torch.stack((ctf * observed, ctf.square()))
        total += insert_slices(values, poses.rotations[part], model.frequencies, stack.box)
    return total


def write_selection(
    path: Path, stack: WorkingStack, rows: NDArray[np.int64], poses: PosesUpdated
) -> None:
    """Write some particles with poses as a star file.

    Parameters
    ----------
    path
        The star file.
    stack
        The working stack.
    rows
        Rows of the working stack, shape (m,).
    poses
        Poses of all particles.
    """
    write_star(
        path,
        stack.table,
        stack.rows[rows],
        rotations=poses.rotations[rows].astype(np.float64),
        shifts=poses.shifts[rows].astype(np.float64),
        scales=poses.scales[rows],
        log_likelihood=poses.log_likelihood[rows],
        explained=poses.explained[rows],
    )


def write_set_aside(folder: RunFolder, stack: WorkingStack) -> None:
    """Write ``set_aside.csv``, which particles are not used because of their images, if any."""
    if len(stack.set_aside.rows):
        stack.set_aside.write(folder.path / "set_aside.csv", stack.table)


def half_sets(given: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the half-set (1 or 2) of each row: the table's own, or alternating."""
    if given is not None and set(np.unique(given[rows])) == {1, 2}:
        return given[rows]
    return np.arange(len(rows)) % 2 + 1


def _map(grid: Tensor) -> NDArray[np.float32]:
    result: NDArray[np.float32] = map_of_grid(grid).cpu().numpy()
    return result
