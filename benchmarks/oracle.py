"""The oracle: the true map, the exact posterior, the best pose refined. It bounds every method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from known import read_known

from napari_cryospin.engine.inference.direct import DirectInference
from napari_cryospin.engine.inference.interface import Place, Problem
from napari_cryospin.engine.inference.marginal.search import search_modes
from napari_cryospin.engine.inference.poses import PoseTable
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map
from napari_cryospin.engine.run.training import signal_amplitude
from napari_cryospin.engine.settings import ModelSettings
from napari_cryospin.engine.stages import DirectStage

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

_HYPOTHESES, _STEPS, _BATCH = 4, 40, 500


def oracle_poses(folder: Path, box: int, *, shifts: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the poses that the true map gives the particles of a stack, and the true ones.

    Shifts start at the true ones: what is bounded is the pose.
    """
    known = read_known(folder, box)
    stack = known.stack
    volume = HartleyVolume(box, signal_amplitude(stack.images), torch.Generator().manual_seed(0))
    volume.assign(grid_of_map(torch.from_numpy(known.volume)))
    poses = PoseTable.empty(stack.n, 1, torch.device("cpu"))
    if shifts:
        poses.shifts = torch.from_numpy(known.shifts).float()
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
    return poses.rotations.double().numpy(), known.rotations
