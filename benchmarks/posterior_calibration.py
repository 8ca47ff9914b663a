"""Whether posteriors mean what they say: true poses in credible sets, with the true map.

Run ``python benchmarks/posterior_calibration.py FOLDER``: stacks are simulated into FOLDER once,
and every finished line is kept in ``FOLDER/calibration.csv``, so that a run that was ended goes on.
It writes ``results/posterior_calibration.md``.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np
from cases import Case
from known import read_known
from machine import description, write_table

from napari_cryospin.engine.evaluation.posteriors import reliability
from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.posterior.summary import credible_levels

SNRS = (0.03, 0.1, 0.3, 1.0)
NOMINAL = np.array([0.5, 0.8, 0.95])
MOLECULES = ("Hsp90", "spike")
PARTICLES, BOX = 300, 64
# the refinement goes on until a hundred cells share a posterior
OPTIONS = PosteriorOptions(depth=4096, enough=100)


def main() -> None:
    """Measure what was not measured yet, and write the table."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    machine, kept = description(), folder / "calibration.csv"
    done = read(kept)
    for snr in SNRS:
        for molecule in MOLECULES:
            if (molecule, snr) not in done:
                done[molecule, snr] = measure(molecule, snr, folder)
                append(kept, molecule, snr, done[molecule, snr])
    lines = [
        "| molecule | SNR | 50 % set | 80 % set | 95 % set | seconds per particle |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for (molecule, snr), figures in sorted(done.items(), key=lambda one: (one[0][0], one[0][1])):
        shares = " | ".join(f"{100 * share:.1f} %" for share in figures[:3])
        lines.append(f"| {molecule} | {snr:g} | {shares} | {figures[3]:.2f} |")
    lines += [
        "",
        f"Shares of {PARTICLES} true poses in the credible sets of that probability; box {BOX} "
        "cropped from 128; noise estimated from the images. The standard deviation of a share is "
        "2.9, 2.3 and 1.3 points.",
    ]
    write_table("posterior_calibration", "Calibration of pose posteriors", lines, machine)


def measure(molecule: str, snr: float, folder: Path) -> list[float]:
    """Return the three shares, and seconds per particle."""
    known = read_known(Case(molecule, PARTICLES, snr=snr).stack(folder), BOX)
    posteriors = ParticlePosteriors(known.particles, OPTIONS)
    posteriors.set_volume(known.volume)
    start = time.perf_counter()
    shifts = np.zeros((known.particles.n, 2))
    levels = credible_levels(posteriors, np.arange(PARTICLES), shifts, known.rotations)
    seconds = (time.perf_counter() - start) / PARTICLES
    figures = [*reliability(levels, NOMINAL), seconds]
    print(molecule, snr, np.round(figures, 3), flush=True)
    return figures


def read(path: Path) -> dict[tuple[str, float], list[float]]:
    """Return the figures of the lines that are done."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    return {(row[0], float(row[1])): [float(figure) for figure in row[2:]] for row in rows}


def append(path: Path, molecule: str, snr: float, figures: list[float]) -> None:
    """Keep a line."""
    with path.open("a", newline="") as file:
        csv.writer(file).writerow([molecule, snr, *figures])


if __name__ == "__main__":
    main()
