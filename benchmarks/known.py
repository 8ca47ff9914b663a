"""A simulated stack as the benchmarks use it: with its true poses, and the true map in its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.settings import DataSettings

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.data.particles import Particles


@dataclass(frozen=True)
class Known:
    """A stack at the working box, with the truth.

    Parameters
    ----------
    particles
        The n particles at the working box of D pixels.
    rotations
        True poses, (n, 3, 3).
    shifts
        True shifts, working pixels, (n, 2).
    volume
        The true map in the images' unit, (D, D, D).
    belongs
        Which particles belong to it, (n,): the others are junk, or of a second structure.
    scales
        What it is multiplied with to fit the images of each optics group, (n,).
    """

    particles: Particles
    rotations: np.ndarray
    shifts: np.ndarray
    volume: np.ndarray
    belongs: np.ndarray
    scales: np.ndarray


def read_known(folder: Path, box: int) -> Known:
    """Read a simulated stack; the true map is scaled to the images by least squares."""
    settings = DataSettings(
        stack=folder / "particles.star",
        truth_star=folder / "truth.star",
        truth_map=folder / "truth.mrc",
        box=box,
    )
    assert settings.stack is not None
    particles = prepare(read_table(settings.stack), settings)
    truth = Truth.of(settings, particles)
    table = read_table(folder / "truth.star")
    assert truth is not None and truth.volume is not None and table.shifts is not None
    shifts = table.shifts[particles.rows] / particles.pixel_size
    model = ImageModel.within(particles.box, particles.box / 2)
    # all optics groups are among them
    rows = torch.from_numpy(np.flatnonzero(truth.belongs)[:500])
    poses = torch.from_numpy(truth.rotations[rows.numpy()]).float()
    slices = Projector(torch.from_numpy(truth.volume)).slices(poses, model.frequencies)
    moved = model.shift(slices, -torch.from_numpy(shifts[rows.numpy()]).float())
    predicted = particles.transfer(rows, model) * moved
    observed = particles.observed(rows, model).coefficients
    cross, power = (predicted * observed).sum(1), predicted.square().sum(1)
    scale = float(cross.sum() / power.sum())
    optics = particles.table.optics_index[particles.rows]
    scales = np.ones(particles.n)
    groups = np.unique(optics)
    for group in groups if len(groups) > 1 else ():
        own = optics[rows.numpy()] == group
        scales[optics == group] = float(cross[own].sum() / power[own].sum()) / scale
    return Known(particles, truth.rotations, shifts, scale * truth.volume, truth.belongs, scales)
