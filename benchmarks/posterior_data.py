"""Stacks with known truth for the benchmarks of the posterior, simulated as in the paper."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.load import open_particles
from napari_cryospin.engine.data.preprocess import WorkingStack, prepare
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.settings import DataSettings

if TYPE_CHECKING:
    import numpy as np

ATOMS = Path(__file__).parents[1] / ".." / "shared" / "data" / "atoms"
MOLECULES = {
    "Hsp90": "2cg9_hsp90_sba1.pdb.gz",
    "spike": "spike_1up_7k8x_chainsABC.pdb.gz",
}
BOX, WORKING_BOX = 128, 64


@dataclass(frozen=True)
class Case:
    """A stack at the working box, its true poses, and the true map in the images' unit."""

    stack: WorkingStack
    rotations: np.ndarray
    volume: np.ndarray


def simulated(molecule: str, folder: Path, n_particles: int, snr: float) -> Path:
    """Simulate a stack, unless the folder holds it already, and return the folder."""
    source = (ATOMS / MOLECULES[molecule]).resolve()
    if not source.exists():
        sys.exit(f"The benchmark needs {source}, which is not there.")
    target = folder / f"{molecule}_{n_particles}_{snr:g}"
    if not (target / "truth.mrc").exists():
        options = ["--box", BOX, "--n-particles", n_particles, "--snr", snr, "--out", target]
        command = ["napari-cryospin", "simulate", source, *options]
        subprocess.run([str(part) for part in command], check=True)
    return target


def case(folder: Path) -> Case:
    """Read a simulated stack; the true map is scaled to the images by least squares."""
    settings = DataSettings(
        stack=folder / "particles.star",
        truth_star=folder / "truth.star",
        truth_map=folder / "truth.mrc",
        box=WORKING_BOX,
    )
    assert settings.stack is not None
    stack = prepare(open_particles(settings.stack), settings)
    truth = Truth.of(settings, stack)
    assert truth is not None and truth.volume is not None
    model = ImageModel.within(stack.box, stack.box / 2)
    rows = torch.arange(min(stack.n, 500))
    poses = torch.from_numpy(truth.rotations[rows.numpy()]).float()
    slices = Projector(torch.from_numpy(truth.volume)).slices(poses, model.frequencies)
    predicted = stack.ctf(rows, model.frequencies) * slices
    observed = model.coefficients(stack.images[rows])
    scale = float((predicted * observed).sum() / predicted.square().sum())
    return Case(stack, truth.rotations, scale * truth.volume)
