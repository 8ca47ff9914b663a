"""The oracle: the true map, the exact posterior, the best pose refined. It bounds every method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.load import open_particles
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.inference.direct import DirectInference
from napari_cryospin.engine.inference.interface import Place, Problem
from napari_cryospin.engine.inference.marginal.search import search_modes
from napari_cryospin.engine.inference.poses import PoseTable
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map
from napari_cryospin.engine.run.training import signal_amplitude
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.settings import DataSettings, ModelSettings
from napari_cryospin.engine.stages import DirectStage

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from napari_cryospin.engine.data.preprocess import WorkingStack

_HYPOTHESES, _STEPS, _BATCH = 4, 40, 500


def oracle_poses(folder: Path, box: int, *, shifts: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the poses that the true map gives the particles of a stack, and the true ones.

    Shifts start at the true ones: what is bounded is the pose.
    """
    settings = DataSettings(
        stack=folder / "particles.star",
        truth_star=folder / "truth.star",
        truth_map=folder / "truth.mrc",
        box=box,
    )
    assert settings.stack is not None
    stack = prepare(open_particles(settings.stack), settings)
    truth = Truth.of(settings, stack)
    assert truth is not None and truth.volume is not None
    volume = HartleyVolume(box, signal_amplitude(stack.images), torch.Generator().manual_seed(0))
    poses = PoseTable.empty(stack.n, 1, torch.device("cpu"))
    if shifts:
        table = open_particles(folder / "truth.star")
        assert table.shifts is not None
        poses.shifts = torch.from_numpy(table.shifts[stack.rows] / stack.pixel_size).float()
    volume.assign(_scale(stack, truth, poses.shifts) * grid_of_map(torch.from_numpy(truth.volume)))
    problem = Problem(
        stack,
        volume,
        poses,
        torch.zeros(stack.n, dtype=torch.bool),
        ModelSettings(shifts=shifts),
        0,
    )
    rows = torch.arange(stack.n)
    noise = NoiseSpectrum.white(box)
    for _ in search_modes(problem, rows, _HYPOTHESES, noise):
        pass
    refined = DirectInference(
        problem,
        DirectStage(
            hypotheses=_HYPOTHESES,
            pose_steps=_STEPS // 4,
            learning_rate_pose=0.03,
            final_rate=0.05,
            volume_update="closed form",
        ),
    )
    for done in (0.0, 0.4, 0.7, 0.9):
        refined.set_place(Place(0, 0, done))
        for part in rows.split(_BATCH):
            refined.train_batch(part)
    return poses.rotations.double().numpy(), truth.rotations


def _scale(stack: WorkingStack, truth: Truth, shifts: torch.Tensor) -> float:
    """Return the factor that brings the true map to the unit of the images, by least squares."""
    model = ImageModel.within(stack.box, stack.box / 2)
    rows = torch.arange(min(stack.n, 500))
    turned = torch.from_numpy(truth.rotations[rows.numpy()]).float()
    slices = Projector(torch.from_numpy(truth.volume)).slices(turned, model.frequencies)
    predicted = stack.ctf(rows, model.frequencies) * model.shift(slices, -shifts[rows])
    observed = model.coefficients(stack.images[rows])
    return float((predicted * observed).sum() / predicted.square().sum())
