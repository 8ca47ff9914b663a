"""The oracle: what the true map says of the poses, and the true poses of the map.

It bounds what any method can find in a stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.evaluation.fsc import crossing_shell, fsc
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.inference.direct import DirectInference
from napari_cryospin.engine.inference.interface import Place
from napari_cryospin.engine.judging.halves import back_project
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map, map_of_grid
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.settings import ModelSettings
from napari_cryospin.engine.stages import DirectStage
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from napari_cryospin.engine.sums.search import search_modes

if TYPE_CHECKING:
    from known import Known

_HYPOTHESES, _STEPS, _BATCH = 4, 40, 500


def oracle_poses(known: Known, *, shifts: bool, coloured: bool = False) -> np.ndarray:
    """Return the poses (n, 3, 3) that the true map gives: the exact posterior's best, refined.

    Shifts start at the true ones: what is bounded is the pose. Noise is taken for white, or for
    what particles that belong to the map show of it at their true poses.
    """
    noise = _true_noise(known) if coloured else NoiseSpectrum.white(known.particles.box)
    return _oracle(known, [known.volume], noise, shifts=shifts).rotations.double().numpy()


def oracle_classes(known: Known, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the poses (n, 3, 3), and the classes (n,), from 0, that two true maps give."""
    poses = _oracle(known, [known.volume, second], _true_noise(known), shifts=True)
    return poses.rotations.double().numpy(), poses.classes.numpy()


def _oracle(
    known: Known, volumes: list[np.ndarray], noise: NoiseSpectrum, *, shifts: bool
) -> PoseTable:
    particles = known.particles
    amplitude = signal_amplitude(particles, torch.arange(particles.n))
    maps = []
    for volume in volumes:
        held = HartleyVolume(particles.box, amplitude, torch.Generator().manual_seed(0))
        held.assign(grid_of_map(torch.from_numpy(volume)))
        maps.append(held)
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"), len(maps))
    poses.scales = torch.from_numpy(known.scales).float()
    if shifts:
        poses.shifts = torch.from_numpy(known.shifts).float()
    nobody = torch.zeros(particles.n, dtype=torch.bool)
    first, *others = maps
    model = ModelSettings(shifts=shifts)
    problem = Problem(particles, first, poses, nobody, model, 0, tuple(others))
    rows = torch.arange(particles.n)
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
        noise,
    )
    for done in (0.0, 0.4, 0.7, 0.9):
        refined.set_place(Place(0, done))
        for part in rows.split(_BATCH):
            refined.train_batch(part)
    return poses


def _true_noise(known: Known) -> NoiseSpectrum:
    """Return the noise that is left of particles at their true poses."""
    particles = known.particles
    model = ImageModel.within(particles.box, particles.box / 2)
    rows = torch.from_numpy(np.flatnonzero(known.belongs)[:1000])
    poses = Poses(
        torch.from_numpy(known.rotations[rows]).float(),
        torch.from_numpy(known.shifts[rows]).float(),
    )
    seen = particles.observed(rows, model)
    predicted = seen.ctf * model.project(slicer(grid_of_map(torch.from_numpy(known.volume))), poses)
    scale = (predicted * seen.coefficients).sum(1) / predicted.square().sum(1)
    residual = seen.coefficients - scale[:, None] * predicted
    return NoiseSpectrum.of_residuals(residual.square().mean(0), model, particles.mask_power)


def oracle_fsc(known: Known) -> float:
    """Return where the map that the true poses make falls below FSC 0.5, as a share of Nyquist.

    It is made of the particles that belong to it.
    """
    particles = known.particles
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    poses.rotations = torch.from_numpy(known.rotations).float()
    poses.shifts = torch.from_numpy(known.shifts).float()
    poses.scales = torch.from_numpy(known.scales).float()
    model = ImageModel.within(particles.box, particles.box / 2)
    rows = np.flatnonzero(known.belongs)
    found = divide(back_project(particles, poses, torch.from_numpy(rows), model))
    curve = fsc(map_of_grid(found).numpy(), known.volume)
    return crossing_shell(curve, 0.5) / (len(curve) - 1)
