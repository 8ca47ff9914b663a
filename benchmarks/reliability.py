"""How often a preset finds the right structure, over molecules and seeds, and how fast.

``python benchmarks/reliability.py FOLDER SET`` runs a set of cases, one line of
``results/reliability.csv`` each; what is there already is not run again. The stacks and runs go
into FOLDER. Without SET it only writes the tables.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cases import COMMAND, Case
from known import read_known
from machine import load_of, write_table
from oracle import oracle_fsc, oracle_poses
from results_file import ResultsFile
from scoring import RIGHT, SUCCESS_FSC, SUCCESS_MEAN, pose_errors, pseudo_symmetry, score

from napari_cryospin.engine.runfolder.folder import RunFolder

MOLECULES = ("spike", "spliceosome", "30S", "50S")
SEEDS = range(5)
# share of the oracle's FSC that counts where the oracle itself stays below what is asked
_OF_ORACLE = 0.95
RECORDED = ResultsFile(
    "reliability",
    "set molecule n seed snr shift box preset options".split(),
    "seconds epochs epochs_needed median mean right mean_modulo fsc_fraction shift_error_px "
    "oracle_median oracle_mean oracle_right oracle_mean_modulo oracle_fsc verdict gain "
    "information".split(),
)
# the paper trains on 50,000 particles: with 3,000 its epochs are too few
PAPER = ("--epochs-encode", "60", "--epochs-decode", "20", "--threads", "1")


@dataclass(frozen=True)
class Trial:
    """A case with the options of a run; a watched run is told the truth, to count its epochs."""

    case: Case
    box: int = 32
    preset: str = "default"
    options: tuple[str, ...] = ()
    watched: bool = False

    def key(self) -> tuple[str, ...]:
        """Return what tells it from other trials."""
        case = self.case
        parts = (case.molecule, case.n, case.seed, f"{case.snr:g}", f"{case.shift:g}")
        return tuple(map(str, (*parts, self.box, self.preset, " ".join(self.options))))


SETS: dict[str, list[Trial]] = {
    "box 32": [Trial(Case(m, seed=s)) for m in MOLECULES for s in SEEDS],
    "Hsp90": [Trial(Case("Hsp90", seed=seed)) for seed in SEEDS],
    "box 64": [Trial(Case(molecule, 5000), 64) for molecule in MOLECULES],
    "noise": [Trial(Case("noise", seed=seed)) for seed in SEEDS],
    "SNR": [Trial(Case("spike", snr=snr)) for snr in (0.3, 0.1, 0.05, 0.03, 0.01, 0.003, 0.001)],
    "paper": [
        Trial(Case(m, seed=s), preset="paper-synthetic", options=PAPER, watched=True)
        for s in SEEDS
        for m in (*MOLECULES, "Hsp90")
    ],
    "number": [Trial(Case("spike", n)) for n in (300, 600, 1000, 3000, 10_000)],
    "number at SNR 0.01": [Trial(Case("spike", n, snr=0.01)) for n in (300, 600, 1000)],
}


def run(trial: Trial, folder: Path) -> dict[str, object]:
    """Reconstruct, score, and ask the oracle."""
    case = trial.case
    stack = case.stack(folder / "stacks")
    out = folder / "runs" / "_".join((case.name, str(trial.box), trial.preset))
    shutil.rmtree(out, ignore_errors=True)
    words = ["--box", str(trial.box), "--preset", trial.preset, "--seed", str(case.seed)]
    words += [*trial.options, "--out", str(out)]
    if trial.watched:
        words += ["--truth-star", str(stack / "truth.star")]
        words += ["--truth-map", str(stack / "truth.mrc")]
    started = time.monotonic()
    command = [*COMMAND, "reconstruct", str(stack / "particles.star"), *words]
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.monotonic() - started
    made = RunFolder(out)
    verdict = json.loads(made.verdict_path.read_text())
    with made.metrics_path.open() as file:
        by_epoch = [row["mean_pose_error_deg"] for row in csv.DictReader(file)]
    right = [n for n, error in enumerate(by_epoch, 1) if error and float(error) <= SUCCESS_MEAN]
    found: dict[str, object] = {
        "seconds": f"{seconds:.1f}",
        "epochs": len(by_epoch),
        "epochs_needed": right[0] if right else "",
        "verdict": verdict["outcome"],
        "gain": f"{verdict['gain']:.3f}",
        "information": f"{verdict['information']:.2f}",
    }
    if case.molecule != "noise":
        pseudo = pseudo_symmetry(stack / "truth.mrc") if case.molecule == "Hsp90" else None
        figures = score(made.star_path, made.map_path, stack, pseudo).figures()
        found |= {name: "" if x is None else f"{x:.4f}" for name, x in figures.items()}
        known = read_known(stack, trial.box)
        bound = oracle_poses(known, shifts=case.shift > 0)
        here = known.belongs
        errors, nearer = pose_errors(bound[here], known.rotations[here], pseudo)
        found["oracle_fsc"] = f"{oracle_fsc(known):.4f}"
        found["oracle_median"] = f"{np.median(errors):.4f}"
        found["oracle_mean"] = f"{errors.mean():.4f}"
        found["oracle_right"] = f"{(errors < RIGHT).mean():.4f}"
        found["oracle_mean_modulo"] = f"{nearer.mean():.4f}"
    return found


def outcome(row: dict[str, str]) -> str:
    """Return "yes", "no", or "as the oracle": right as far as the data hold the answer."""
    if row["molecule"] == "noise":
        return "yes" if row["verdict"] == "no structure in the data" else "no"
    right = float(row["mean"]) <= SUCCESS_MEAN
    if row["molecule"] == "Hsp90":
        share = float(row["right"]) >= 0.9 * float(row["oracle_right"])
        right = float(row["mean_modulo"]) <= SUCCESS_MEAN and share
    if right and float(row["fsc_fraction"]) >= SUCCESS_FSC:
        return "yes"
    bound = float(row["oracle_fsc"])
    if right and bound < SUCCESS_FSC and float(row["fsc_fraction"]) >= _OF_ORACLE * bound:
        return "as the oracle"
    return "no"


def tables() -> None:
    """Write ``results/reliability.md``."""
    rows = RECORDED.rows()
    lines = [
        "Success: mean pose error ≤ 5° and FSC 0.5 at ≥ 90 % of Nyquist; Hsp90: ≤ 5° modulo its "
        "near-twofold axis, and a share in the right mode of at least 0.9 of the oracle's; noise: "
        'the verdict "no structure in the data". *As the oracle*: right poses, and a map within '
        "5 % of the oracle's FSC, which itself is below 90 % of Nyquist. *Oracle*: the same "
        "particles against the true map, best pose of the exact posterior, refined; its FSC is "
        "that of the map made with the true poses. Errors in degrees; whole-process times. "
        "*Needed*: epochs until the mean error was ≤ 5°, where the run was told the truth. "
        "Runs without an error of shifts are older than their search by default; those of "
        "`marginal` are from when it was the default.",
    ]
    for name, preset in dict.fromkeys((row["set"], row["preset"]) for row in rows):
        mine = [row for row in rows if (row["set"], row["preset"]) == (name, preset)]
        good = sum(outcome(row) != "no" for row in mine)
        seconds = float(np.median([float(row["seconds"]) for row in mine]))
        loads = sorted((load_of(row["machine"]) for row in mine), key=float)
        lines += [
            "",
            f"## {name}, {preset}: {good} of {len(mine)}, median time {seconds:.0f} s",
            "",
            f"Load of the machine at the end of a run: {loads[0]} to {loads[-1]}.",
            "",
            "| molecule | n | SNR | seed | box | time (s) | epochs | needed | median | mean | "
            "in right mode | FSC 0.5 / Nyquist | shift (px) | oracle median | oracle mean | "
            "oracle right | oracle FSC | verdict | |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|---|",
        ]
        lines += [line(row) for row in mine]
    machines = "; ".join(dict.fromkeys(row["machine"] for row in rows[:1]))
    write_table("reliability", "The right structure, seed by seed", lines, machines)


def line(row: dict[str, str]) -> str:
    """Return a row of the table."""

    def figure(name: str, digits: int = 2) -> str:
        return f"{float(row[name]):.{digits}f}" if row[name] else "–"

    cells = [
        row["molecule"],
        row["n"],
        row["snr"],
        row["seed"],
        row["box"],
        figure("seconds", 0),
        row["epochs"],
        row["epochs_needed"] or "–",
        figure("median"),
        figure("mean"),
        figure("right", 3),
        figure("fsc_fraction"),
        figure("shift_error_px"),
        figure("oracle_median"),
        figure("oracle_mean"),
        figure("oracle_right", 3),
        figure("oracle_fsc"),
        row["verdict"],
        "**no**" if outcome(row) == "no" else outcome(row),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run what is missing of a set, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    for name in arguments.sets:
        for trial in SETS[name]:
            key = (name, *trial.key())
            if not RECORDED.has(key):
                RECORDED.add(key, run(trial, arguments.folder))
    tables()


if __name__ == "__main__":
    main()
