"""The heads as a posterior: what they cover of it when auto-encoding ends, and how right they are.

``python benchmarks/heads_posterior.py FOLDER`` simulates three stacks of two molecules into FOLDER,
trains auto-encoding of the default preset on each, and measures the held-out particles at the
switch, as its criterion does after every epoch. It writes ``results/heads_posterior.md``.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from cases import Case
from known import read_known
from machine import description, write_table
from scoring import pose_errors

from napari_cryospin.engine.judging.evidence import judge_with_posteriors
from napari_cryospin.engine.judging.heads import head_figures
from napari_cryospin.engine.run.epoch import train_epoch
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from napari_cryospin.engine.switch_figures import HeadFigures

MOLECULES, SEEDS, BOX = ("spike", "Hsp90"), range(3), 32
# bins of fewer modes say little of the weights in them
ENOUGH = 15


class AtTheSwitch(NamedTuple):
    """What was measured of one stack; errors in degrees, times in CPU seconds."""

    candidates: str
    epochs: int
    training: float
    measuring: float
    mean_error: float
    figures: HeadFigures


def main() -> None:
    """Measure all stacks, and write the table."""
    machine, folder = description(), Path(sys.argv[1])
    torch.set_num_threads(1)
    lines = [
        "| molecule | seed | heads × turns | epochs | CPU s | held-out mean error (°) | covered | "
        f"by random poses | weights off by | largest, bins of ≥ {ENOUGH} | measured in (CPU s) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    diagrams = ["", "## Weights", ""]
    for molecule, seed in itertools.product(MOLECULES, SEEDS):
        found = at_the_switch(molecule, seed, folder)
        figures = found.figures
        off = [abs(one.weight - one.right) for one in figures.weights if one.number >= ENOUGH]
        lines.append(
            f"| {molecule} | {seed} | {found.candidates} | {found.epochs} | {found.training:.0f} | "
            f"{found.mean_error:.1f} | {100 * figures.coverage:.1f} % | "
            f"{100 * figures.random_coverage:.1f} % | {100 * figures.calibration_error:.1f} % | "
            f"{100 * max(off):.1f} % | {found.measuring:.2f} |"
        )
        print(lines[-1], flush=True)
        bins = (f"{b.weight:.2f} → {b.right:.2f} ({b.number})" for b in figures.weights)
        diagrams.append(f"* {molecule}, seed {seed}: {', '.join(bins)}")
    notes = [
        "",
        "3 000 particles, box 32 from 128, SNR 0.1; 150 of them held out. *Covered*: share of the "
        "exact posterior (frequency radius 8, cells of 1.8° around its modes) within 15° of a "
        "candidate, beside as many random poses. *Weights off by*: expected calibration error of "
        "the weights of the candidates' modes, in ten bins of weight, against what the exact "
        "posterior has there; then the bin that is furthest off. *Weights*: mean weight → exact "
        "posterior (number of modes). The error of Hsp90 counts its near-twofold mate as wrong: "
        "at this resolution the map of auto-encoding does not tell the two apart.",
    ]
    title = "The heads as a posterior, when auto-encoding ends"
    write_table("heads_posterior", title, lines + diagrams + notes, machine)


def at_the_switch(molecule: str, seed: int, folder: Path) -> AtTheSwitch:
    """Train auto-encoding on a stack to its end, and measure its held-out particles."""
    known = read_known(Case(molecule, seed=seed).stack(folder), BOX)
    settings = Settings(seed=seed, starts=1)
    training, started = Training(known.particles, settings), time.process_time()
    while not training.stage_due:
        train_epoch(training)
    trained = time.process_time() - started
    rows = training.used.nonzero().flatten()
    for _ in training.inference.end_stage(rows):
        pass
    held = training.held_out.nonzero().flatten()
    judged = judge_with_posteriors(training.problem, (~training.held_out).nonzero()[:, 0], held)
    assert judged is not None
    before = time.process_time()
    figures = head_figures(training.problem, judged[1])
    measuring = time.process_time() - before
    poses = training.poses.rotations.double().numpy()
    errors = pose_errors(poses, known.rotations, None)[0][held.numpy()]
    model = settings.model
    return AtTheSwitch(
        f"{model.heads} × {model.turns}",
        training.clock.epoch,
        trained,
        measuring,
        float(errors.mean()),
        figures,
    )


if __name__ == "__main__":
    main()
