"""The automatic switch against fixed ones: paper-style runs, switched after each of several epochs.

``python benchmarks/switch_sweep.py FOLDER`` adds lines to ``results/switch_sweep.csv`` for each
molecule and seed; what is there is not run again. The stacks go into FOLDER. Auto-encoding is run
once; runs that switch branch off from it, which is the same as running each from its beginning.
"""

from __future__ import annotations

import copy
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from cases import Case
from machine import description, write_table
from results_file import ResultsFile
from scoring import pose_errors

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.run.epoch import train_epoch
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.settings import DataSettings, Settings
from napari_cryospin.engine.stages import AmortizedStage, DirectStage

if TYPE_CHECKING:
    from collections.abc import Iterator

MOLECULES, SEEDS = ("spike", "spliceosome"), range(3)
PARTICLES, BOX, HEADS = 3000, 32, 15
LATEST, DECODED = 100, 10
SWITCHES = (5, 15, 30, 50, 75, LATEST)
RECORDED = ResultsFile(
    "switch_sweep",
    ("molecule", "seed", "switch_at"),
    (
        "switched_after",
        "median",
        "mean",
        "gain",
        "winner_in_best_mode",
        "amortization_gap",
        "seconds",
    ),
)


def settings_of(case: Case, stack: Path) -> Settings:
    """Return the settings of a paper-style run: no pose search, one hypothesis.

    With a few thousand particles the paper's own settings find no structure, whenever they switch:
    so the learning rates, the loss, the heads and a low-pass schedule are ones that do.
    """
    settings = Settings.from_preset("paper-synthetic")
    settings.seed = case.seed
    settings.data = DataSettings(
        stack=stack / "particles.star",
        truth_star=stack / "truth.star",
        truth_map=stack / "truth.mrc",
        box=BOX,
    )
    settings.model.heads = HEADS
    settings.model.loss, settings.model.encoder_width = "squared", None
    settings.stages = [
        AmortizedStage(
            epochs=LATEST,
            until="criterion",
            learning_rate_encoder=1e-3,
            learning_rate_volume=5e-2,
            low_pass_start=100,
            low_pass_end=20,
        ),
        DirectStage(epochs=DECODED, learning_rate_volume=1e-2, final_rate=0.02),
    ]
    return settings


def runs(case: Case, folder: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the name of each switch and what came of it."""
    stack = case.stack(folder / "stacks")
    settings = settings_of(case, stack)
    assert settings.data.stack is not None
    particles = prepare(read_table(settings.data.stack), settings.data)
    truth = Truth.of(settings.data, particles)
    assert truth is not None
    training = Training(particles, settings)
    started, switched = time.monotonic(), False
    for epoch in range(1, LATEST + 1):
        train_epoch(training)
        figures = training.inference.switch_figures
        assert figures is not None
        print(case.molecule, case.seed, epoch, figures, flush=True)
        automatic = not switched and (training.inference.over or epoch == LATEST)
        names = [str(epoch)] if epoch in SWITCHES else []
        if automatic:
            switched = True
            names.append("auto")
        if not names:
            continue
        errors = decoded(training, truth)
        found = {
            "switched_after": epoch,
            "median": f"{np.median(errors):.3f}",
            "mean": f"{errors.mean():.3f}",
            "gain": f"{figures.gain:.2f}",
            "winner_in_best_mode": f"{figures.winner_in_best_mode:.3f}",
            "amortization_gap": f"{figures.amortization_gap:.4f}",
            "seconds": f"{time.monotonic() - started:.0f}",
        }
        for name in names:
            yield name, found


def decoded(training: Training, truth: Truth) -> np.ndarray:
    """Return the pose errors after auto-decoding from here, (n,)."""
    branch = copy.deepcopy(training)
    branch.next_stage()
    for _ in range(DECODED):
        train_epoch(branch)
    return pose_errors(branch.poses.rotations.double().numpy(), truth.rotations, None)[0]


def main() -> None:
    """Run what is missing, and write the table."""
    for molecule in MOLECULES:
        for seed in SEEDS:
            if RECORDED.has((molecule, str(seed), "auto")):
                continue
            case = Case(molecule, PARTICLES, seed=seed)
            # all lines of a case at once: an unfinished one begins anew
            for name, found in list(runs(case, Path(sys.argv[1]))):
                RECORDED.add((molecule, str(seed), name), found)
    table()


def table() -> None:
    """Write ``results/switch_sweep.md``."""
    rows = RECORDED.rows()
    fixed = [str(switch) for switch in SWITCHES]
    lines = [
        "Final mean pose error (°) of runs that switched after so many epochs of auto-encoding and "
        f"ended after {DECODED} of auto-decoding, when nothing moved any more; *auto*: by the "
        "criterion, with the epoch that it chose. Auto-encoding and auto-decoding alone, as in the "
        f"paper: {HEADS} heads, no search, one hypothesis; box {BOX}, {PARTICLES:,} particles, "
        "auto-encoding with a low-pass filter from 100 to 20 Å.",
        "",
        f"| molecule | seed | {' | '.join(fixed)} | auto (after) | best fixed | auto / best |",
        "|---|--:|" + "--:|" * (len(fixed) + 3),
    ]
    for molecule in MOLECULES:
        for seed in SEEDS:
            mine = {
                row["switch_at"]: row
                for row in rows
                if (row["molecule"], row["seed"]) == (molecule, str(seed))
            }
            if not mine:
                continue
            errors = {switch: float(mine[switch]["mean"]) for switch in fixed}
            best, auto = min(errors.values()), float(mine["auto"]["mean"])
            shown = " | ".join(f"{error:.1f}" for error in errors.values())
            lines.append(
                f"| {molecule} | {seed} | {shown} | {auto:.1f} ({mine['auto']['switched_after']}) "
                f"| {best:.1f} | {auto / best:.2f} |"
            )
    machine = rows[0]["machine"] if rows else description()
    write_table("switch_sweep", "When to switch", lines, machine)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
