from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.judging.halves import HalfMaps
from napari_cryospin.engine.models.volume import HartleyVolume
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.settings import DataSettings, ModelSettings
from napari_cryospin.engine.simulate import Nuisances, simulate
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np


@pytest.fixture(scope="session")
def molecule() -> np.ndarray:
    return procedural_molecule(box=32, pixel_size=4.0)


@pytest.fixture
def solved(tmp_path: Path, molecule: np.ndarray) -> Callable[..., tuple[Problem, HalfMaps]]:
    """What simulates particles, gives them their true poses, and makes the half-maps.

    Particles that belong to nothing get the pose of the one before them.
    """

    def solve(
        n: int = 600, snr: float = 1.0, second: np.ndarray | None = None, **nuisances: float
    ) -> tuple[Problem, HalfMaps]:
        simulate(
            molecule,
            tmp_path / "stack",
            n_particles=n,
            pixel_size=4.0,
            snr=snr,
            seed=3,
            second=second,
            nuisances=Nuisances(**nuisances),
        )
        particles = prepare(read_table(tmp_path / "stack" / "particles.star"), DataSettings(box=32))
        rotations = read_table(tmp_path / "stack" / "truth.star").rotations
        poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
        poses.rotations = torch.from_numpy(rotations).float()
        volume = HartleyVolume(
            32,
            signal_amplitude(particles, torch.arange(particles.n)),
            torch.Generator().manual_seed(0),
        )
        none = torch.zeros(particles.n, dtype=torch.bool)
        problem = Problem(particles, volume, poses, none, ModelSettings(shifts=False), 0)
        return problem, HalfMaps.of(particles, poses, ~none)

    return solve
