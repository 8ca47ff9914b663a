"""What posteriors cost, and whether the refined posterior is the exhaustive one.

Run ``python benchmarks/posterior_timing.py FOLDER``: a stack of Hsp90 is simulated into FOLDER
once. It writes ``results/posterior_timing.md``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from cases import Case
from known import Known, read_known
from machine import description, write_table

from napari_cryospin.engine.geometry.cells import n_cells, rotations_of_cells
from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.posterior.refinement import Cells, log_probability, refine
from napari_cryospin.engine.posterior.summary import summarise

PARTICLES, CHOSEN = 1000, 100
BOX, BLUR = 64, 6


def main() -> None:
    """Measure and write the table."""
    machine = description()
    known = read_known(Case("Hsp90", PARTICLES).stack(Path(sys.argv[1])), BOX)
    chosen = np.sort(np.random.default_rng(0).choice(PARTICLES, CHOSEN, replace=False))
    lines = ["| what | figure |", "|---|---:|"]
    for name, volume in (("true map", known.volume), ("blurred map", blurred(known))):
        lines += timings(name, known, volume, chosen)
    for nside in (4, 8):
        worst, mean = total_variation(known, chosen, nside)
        lines.append(
            f"| total variation, refined from nside {nside} against exhaustive at nside 16: "
            f"largest, mean | {worst:.1e}, {mean:.1e} |"
        )
    lines += [
        "",
        f"Hsp90, box 64 cropped from 128, SNR 0.1, {torch.get_num_threads()} threads; {CHOSEN} "
        f"random particles. The blurred map has no frequencies beyond radius {BLUR}, so its "
        "posteriors are broad.",
    ]
    write_table(
        "posterior_timing", "Posteriors: time, and agreement with brute force", lines, machine
    )


def blurred(known: Known) -> np.ndarray:
    """Return the true map without frequencies beyond a radius."""
    box = known.particles.box
    k = np.fft.fftfreq(box, 1 / box)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    return np.fft.ifftn(np.fft.fftn(known.volume) * (radius <= BLUR)).real.astype(np.float32)


def timings(name: str, known: Known, volume: np.ndarray, chosen: np.ndarray) -> list[str]:
    """Return lines of seconds for a new map, one particle, and all."""
    posteriors = ParticlePosteriors(known.particles, PosteriorOptions())
    posteriors.set_volume(volume)
    posteriors.particle(0)
    start = time.perf_counter()
    posteriors.set_volume(volume)
    new_map = time.perf_counter() - start
    each = []
    for row in chosen:
        start = time.perf_counter()
        posteriors.particle(int(row))
        each.append(time.perf_counter() - start)
    start = time.perf_counter()
    summary = summarise(posteriors, np.arange(PARTICLES), np.zeros((PARTICLES, 2)))
    everything = time.perf_counter() - start
    return [
        f"| {name}: taking up a new map, with the noise (s) | {new_map:.2f} |",
        f"| {name}: one particle to nside 64, median and longest (s) | "
        f"{np.median(each):.2f}, {max(each):.2f} |",
        f"| {name}: 1,000 particles at nside 8 × 48, with their modes (s) | {everything:.2f} |",
        f"| {name}: median entropy (nats), particles with more than one mode | "
        f"{np.median(summary.entropy):.2f}, {100 * summary.multimodal_share:.0f} % |",
    ]


def total_variation(known: Known, chosen: np.ndarray, nside: int) -> tuple[float, float]:
    """Return the largest and the mean distance between refined and exhaustive posteriors."""
    posteriors = ParticlePosteriors(known.particles, PosteriorOptions(nside=nside))
    posteriors.set_volume(known.volume)
    likelihood, rows = posteriors.grid.likelihood, torch.from_numpy(chosen)
    model = likelihood.model(posteriors.radius)
    still = np.zeros((1, 2))
    exact = np.empty((len(chosen), n_cells(16)))
    for cells in np.array_split(np.arange(n_cells(16)), 64):
        slices = likelihood.slices(rotations_of_cells(cells, 16), model)
        exact[:, cells] = log_probability(likelihood, model, rows, slices, still)[:, 0]
    exact = torch.softmax(torch.from_numpy(exact), 1).numpy()
    starts = posteriors.grid.log_probability(rows, torch.zeros(len(rows), 2))
    distances = []
    for row, one, expected in zip(chosen, starts, exact, strict=True):
        start = Cells.of_grid(nside, one, torch.zeros(2))
        found = refine(likelihood, int(row), start, depth=16, radius=posteriors.radius)[-1]
        probability = np.zeros(n_cells(16))
        probability[found.cells] = found.probability()[0]
        distances.append(0.5 * np.abs(probability - expected).sum())
    return max(distances), float(np.mean(distances))


if __name__ == "__main__":
    main()
