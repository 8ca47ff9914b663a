"""Whether the explorer shows the posteriors that training sums over: total variation, scales too.

Run ``python benchmarks/explorer_agreement.py FOLDER``: stacks are simulated into FOLDER once. It
writes ``results/explorer_agreement.md``, in a minute.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import torch
from cases import Case
from known import read_known
from machine import description, write_table

from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.models.noise import NoiseSpectrum, shells_of
from napari_cryospin.engine.models.volume import grid_of_map, map_of_grid
from napari_cryospin.engine.posterior.coarse_grid import CoarseGrid
from napari_cryospin.engine.posterior.likelihood import PoseLikelihood
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.sums import exact
from napari_cryospin.engine.sums.products import PoseSlices
from napari_cryospin.engine.sums.quadrature import Quadrature
from napari_cryospin.engine.sums.weights import normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles

BOX, PARTICLES = 32, 48
# standard deviation of the noise of a learned map, over that of its grid
NOISE_OF_MAP = 0.3


class PaddedLikelihood(PoseLikelihood):
    """The explorer's likelihood with slices of the map padded twofold, as an earlier version had.

    Parameters
    ----------
    stack, volume, noise, scales
        As for the explorer's.
    """

    def __init__(
        self,
        particles: Particles,
        volume: NDArray[np.float32],
        noise: NoiseSpectrum,
        scales: NDArray[np.float32] | None,
    ) -> None:
        super().__init__(particles, volume, noise, scales)
        self._projector = Projector(torch.from_numpy(volume))

    def slices(self, rotations, model):
        """Return the slices of the map at poses (J, 3, 3)."""
        poses = torch.as_tensor(np.asarray(rotations, dtype=np.float32))
        values = self._projector.slices(poses, model.frequencies)
        return PoseSlices.of(values)


def main() -> None:
    """Measure, and write the table."""
    machine, lines = description(), []
    for molecule, shift in (("spike", 0.0), ("Hsp90", 0.0), ("spike", 0.03)):
        known = read_known(Case(molecule, 200, shift=shift).stack(Path(sys.argv[1])), BOX)
        true = grid_of_map(torch.from_numpy(known.volume).float())
        draw = torch.Generator().manual_seed(0)
        learned = true + NOISE_OF_MAP * true.std() * torch.randn(true.shape, generator=draw)
        for radius in (8, 15) if not shift else (8,):
            for name, grid in (("true", true), ("learned", learned)):
                found = measure(known.particles, grid, radius, shifts=shift > 0)
                cells = " | ".join(f"{one.max():.2g}, {one.mean():.2g}" for one in found)
                moved = "a step around" if shift else "known"
                lines.append(f"| {molecule} | {name} | {radius} | {moved} | {cells} |")
                print(lines[-1], flush=True)
    lines = [
        "| molecule | map | radius | shifts | explorer | without scales | finer interpolation |",
        "|---|---|---:|---|---:|---:|---:|",
        *lines,
        "",
        "Total variation between the posterior of a particle over all cells of poses as training "
        "computes it (`ExactSum`) and as the explorer does (`CoarseGrid`), largest and mean over "
        f"{PARTICLES} particles; box {BOX} cropped from 128, SNR 0.1; scales drawn between 0.5 and "
        "2, one coloured noise for both, the cells of the radius's level. *Without scales*: the "
        "explorer that takes every scale for 1. *Finer interpolation*: the explorer that pads the "
        "map twofold before it is sliced, which is nearer to a true projection, but is not what "
        "training works with; both were the explorer's before. A *learned* map has noise at all "
        "frequencies, and so up to the corners of the box.",
    ]
    write_table("explorer_agreement", "Explorer and training agree", lines, machine)


def measure(particles: Particles, grid: Tensor, radius: int, *, shifts: bool) -> list[Tensor]:
    """Return total variations of particles, (n,), for the three explorers."""
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.5, 2, particles.n).astype(np.float32)
    noise = NoiseSpectrum(torch.from_numpy(rng.uniform(0.8, 1.4, BOX // 2)).float())
    # shifts near the present one are equally probable to the explorer
    quadrature = Quadrature.at(BOX, radius, radius, spread=1000.0 if shifts else None)
    rows = torch.arange(PARTICLES)
    total = exact.ExactSum(quadrature, grid, noise.variance[shells_of(quadrature.model)])
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    poses.scales = torch.from_numpy(scales)
    images = particles.observed(
        rows, quadrature.model, scales=poses.scales[rows], shifts=poses.shifts[rows]
    )
    # the sum remembers the heaviest cells alone; all of them, at all shifts, are compared here
    everything = {"KEPT_CELLS": len(quadrature.rotations), "_FEW_POINTS": quadrature.n_points}
    with patch.multiple(exact, **everything):
        found = total.posteriors(images)
    trained = torch.zeros(PARTICLES, len(quadrature.rotations))
    trained.scatter_(1, found.cells, found.weights)
    volume = map_of_grid(grid).numpy()
    explorers = [
        PoseLikelihood(particles, volume, noise, scales),
        PoseLikelihood(particles, volume, noise, None),
        PaddedLikelihood(particles, volume, noise, scales),
    ]
    return [0.5 * (shown(one, quadrature, radius) - trained).abs().sum(1) for one in explorers]


def shown(likelihood: PoseLikelihood, quadrature: Quadrature, radius: int) -> Tensor:
    """Return the explorer's posteriors over the quadrature's cells, (n, J)."""
    grid = CoarseGrid(likelihood, quadrature.nside, radius)
    rows = torch.arange(PARTICLES)
    log_p = [grid.log_probability(rows, one.expand(PARTICLES, 2)) for one in quadrature.shifts]
    return normalised(torch.stack(log_p, 1))[0].sum(1)


if __name__ == "__main__":
    main()
