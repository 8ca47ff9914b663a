"""Off-centre particles in preset ``default``, beside the same particles centred.

``python benchmarks/off_centre.py FOLDER [SET …]`` simulates each stack twice, off-centre and
centred; runs the default preset with no other option than the box on the first, and with
``--no-shifts`` on the second, at the same time with one thread each; and adds a line of
``results/off_centre.csv``. What is there already is not run again. Processor times are compared.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cases import Case
from known import read_known
from machine import load_of, write_table
from oracle import oracle_fsc, oracle_poses
from results_file import ResultsFile
from scoring import RIGHT, SUCCESS_FSC, SUCCESS_MEAN, pose_errors, score
from timed_run import begin, seconds_of

from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    import subprocess

MOLECULES, SIGMAS, SEEDS = ("spike", "spliceosome", "30S"), (0.03, 0.05, 0.08), (0, 1)
_OF_ORACLE = 0.95
FIGURES = ("seconds", "median", "mean", "right", "fsc_fraction", "verdict")
RECORDED = ResultsFile(
    "off_centre",
    ("molecule", "n", "sigma", "seed", "box"),
    [
        *(f"{name}_{which}" for which in ("off", "centred") for name in FIGURES),
        *("shift_error_px", "oracle_mean", "oracle_right", "oracle_fsc"),
    ],
)


@dataclass(frozen=True)
class Trial:
    """A stack that is off-centre by a standard deviation, as a share of the box."""

    molecule: str
    sigma: float
    seed: int
    box: int

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from others."""
        return tuple(map(str, (self.molecule, 3000, self.sigma, self.seed, self.box)))

    def case(self, *, centred: bool) -> Case:
        """Return the stack, or the same particles centred."""
        return Case(self.molecule, 3000, self.seed, shift=0.0 if centred else self.sigma)


SETS = {
    "32": [Trial(m, sigma, seed, 32) for seed in SEEDS for sigma in SIGMAS for m in MOLECULES],
    "64": [Trial(m, 0.05, 0, 64) for m in MOLECULES],
    "5 %": [Trial(m, 0.05, seed, 32) for seed in range(5) for m in (*MOLECULES, "50S")],
}


def figures_of(process: subprocess.Popen[bytes], out: Path, stack: Path) -> tuple[object, ...]:
    """Wait for a run, and return its figures and the error of its shifts."""
    seconds, made = seconds_of(process), RunFolder(out)
    found = score(made.star_path, made.map_path, stack)
    verdict = json.loads(made.verdict_path.read_text())["outcome"]
    figures = (seconds, found.median, found.mean, found.right, found.fsc_fraction)
    return (*(f"{value:.4f}" for value in figures), verdict, found.shift_error_px)


def run(trial: Trial, folder: Path) -> dict[str, object]:
    """Run both stacks, score them, and ask the oracle of the one that is off-centre."""
    stacks = [trial.case(centred=centred).stack(folder / "stacks") for centred in (False, True)]
    outs = [folder / "off", folder / "centred"]
    words = ("--box", trial.box, "--seed", trial.seed)
    begun = [
        begin(stacks[0], outs[0], *words),
        begin(stacks[1], outs[1], *words, "--no-shifts"),
    ]
    found: dict[str, object] = {}
    for which, *where in zip(("off", "centred"), begun, outs, stacks, strict=True):
        *figures, shift = figures_of(*where)
        found |= dict(zip((f"{name}_{which}" for name in FIGURES), figures, strict=True))
        if which == "off":
            found["shift_error_px"] = f"{shift:.4f}"
    known = read_known(stacks[0], trial.box)
    errors, _ = pose_errors(oracle_poses(known, shifts=True), known.rotations, None)
    found["oracle_mean"] = f"{errors.mean():.4f}"
    found["oracle_right"] = f"{(errors < RIGHT).mean():.4f}"
    found["oracle_fsc"] = f"{oracle_fsc(known):.4f}"
    shutil.rmtree(stacks[0])
    return found


def is_right(row: dict[str, str]) -> bool:
    """Return whether poses and map are right."""
    least = min(SUCCESS_FSC, _OF_ORACLE * float(row["oracle_fsc"]))
    return float(row["mean_off"]) <= SUCCESS_MEAN and float(row["fsc_fraction_off"]) >= least


def table() -> None:
    """Write ``results/off_centre.md``."""
    rows = RECORDED.rows()
    lines = [
        "3,000 particles each, SNR 0.1, preset `default` with no option but the box; *centred*: "
        "the same particles without shifts, with `--no-shifts`, at the same time. σ: standard "
        "deviation per axis, as a share of the box. Errors in degrees; processor times of whole "
        "programs. *Right*: mean error ≤ 5° and FSC 0.5 at ≥ 90 % of Nyquist, or within 5 % of the "
        "oracle's. *Oracle*: the same particles against the true map, from their true shifts. Rows "
        "of 3 and 8 %, and of box 64, are of what was the default before: `marginal`.",
    ]
    for box in dict.fromkeys(row["box"] for row in rows):
        mine = [row for row in rows if row["box"] == box]
        ratios = [float(row["seconds_off"]) / float(row["seconds_centred"]) for row in mine]
        loads = sorted((load_of(row["machine"]) for row in mine), key=float)
        lines += [
            "",
            f"## box {box}: {sum(map(is_right, mine))} of {len(mine)} right, median ratio of the "
            f"times {np.median(ratios):.2f}",
            "",
            f"Load of the machine at the end of a run: {loads[0]} to {loads[-1]}.",
            "",
            "| molecule | σ (%) | seed | median | mean | in right mode | FSC 0.5 / Nyquist | shift "
            "(px) | verdict | oracle mean | oracle right | oracle FSC | centred mean | time (s) | "
            "centred (s) | ratio |",
            "|---|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for row, ratio in zip(mine, ratios, strict=True):
            value = {name: float(text) for name, text in row.items() if _is_number(text)}
            lines.append(
                f"| {row['molecule']} | {100 * value['sigma']:.0f} | {row['seed']} | "
                f"{value['median_off']:.2f} | {value['mean_off']:.2f} | {value['right_off']:.3f} | "
                f"{value['fsc_fraction_off']:.2f} | {value['shift_error_px']:.2f} | "
                f"{row['verdict_off']} | {value['oracle_mean']:.2f} | "
                f"{value['oracle_right']:.3f} | {value['oracle_fsc']:.2f} | "
                f"{value['mean_centred']:.2f} | {value['seconds_off']:.0f} | "
                f"{value['seconds_centred']:.0f} | {ratio:.2f} |"
            )
    machine = rows[0]["machine"] if rows else "–"
    write_table("off_centre", "Off-centre particles, by default", lines, machine)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def main() -> None:
    """Run what is missing of some sets, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    arguments = parser.parse_args()
    for name in arguments.sets:
        for trial in SETS[name]:
            if not RECORDED.has(trial.key):
                RECORDED.add(trial.key, run(trial, arguments.folder))
                table()
    table()


if __name__ == "__main__":
    main()
