"""Noise that differs between optics groups: images filtered to one noise, and as they are.

``python benchmarks/noise_groups.py FOLDER`` reconstructs stacks of three optics groups, whose noise
has one, two and four times the variance and another colour each, by the default preset, one thread
each, and adds a line of ``results/noise_groups.csv``; what is there already is not run again. A run
without filters has what the images show of their groups' noise forgotten.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import DEVNULL, Popen

from cases import Case
from known import read_known
from machine import write_table
from oracle import oracle_fsc, oracle_poses
from results_file import ResultsFile
from scoring import pose_errors, score
from timed_run import seconds_of

from napari_cryospin.engine.runfolder.folder import RunFolder

BOX, SNR = 32, 0.05
_MOLECULES = ("30S", "spike", "spliceosome")
_FORGOTTEN = (
    "from napari_cryospin.engine.data import preprocess;preprocess.filters_of = lambda *_: None;"
)
_MAIN = "from napari_cryospin.cli import main; main()"
KEYS = ("groups", "molecule", "seed", "filtered")
FIGURES = ("median", "mean", "right", "fsc", "oracle_mean", "oracle_fsc", "seconds")
RECORDED = ResultsFile("noise_groups", KEYS, FIGURES)


@dataclass(frozen=True)
class Trial:
    """A stack, and whether its images are filtered to one noise."""

    groups: int
    molecule: str
    seed: int
    filtered: bool

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from others."""
        return str(self.groups), self.molecule, str(self.seed), str(self.filtered)


def trials() -> list[Trial]:
    """Return all trials."""
    return [
        Trial(3, molecule, seed, filtered)
        for seed in (0, 1)
        for molecule in _MOLECULES
        for filtered in (True, False)
    ]


def run(trial: Trial, folder: Path) -> dict[str, object]:
    """Reconstruct a stack, and return the figures of the result."""
    options = ("--noise", "coloured", "--groups", str(trial.groups))
    stack = Case(trial.molecule, 3000, trial.seed, SNR, 0.03, options).stack(folder / "stacks")
    out = folder / "noise_groups" / "_".join(trial.key)
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-c", _MAIN if trial.filtered else _FORGOTTEN + _MAIN]
    words = (stack / "particles.star", "--out", out, "--box", BOX, "--threads", 1)
    # a working file of another trial would have the filters in it
    words = (*words, "--particles-in", "memory", "--seed", trial.seed)
    process = Popen(
        [*command, "reconstruct", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    seconds = seconds_of(process)
    result = RunFolder(out)
    found = score(result.star_path, result.map_path, stack)
    known = read_known(stack, BOX)
    if not trial.filtered:
        known = replace(known, particles=replace(known.particles, noise_filters=None))
    oracle = oracle_poses(known, shifts=True, coloured=True)
    errors, _ = pose_errors(oracle, known.rotations, None)
    shutil.rmtree(out)
    return {
        "median": f"{found.median:.3f}",
        "mean": f"{found.mean:.3f}",
        "right": f"{found.right:.4f}",
        "fsc": f"{found.fsc_fraction:.3f}",
        "oracle_mean": f"{errors.mean():.3f}",
        "oracle_fsc": f"{oracle_fsc(known):.3f}",
        "seconds": f"{seconds:.1f}",
    }


def table() -> None:
    """Write ``results/noise_groups.md``."""
    rows = RECORDED.rows()
    lines = [
        f"3,000 particles, SNR {SNR} at 128 px, off-centre by 3 %, coloured noise, box {BOX}, the "
        "default preset, one thread. Three groups: noise of one, two and four times the variance, "
        "each of another colour. The oracle has filters where the run has. Time: of the processor.",
        "",
        "| groups | molecule | seed | filtered | median, mean (°) | right mode | FSC 0.5 | "
        "oracle: mean, FSC | time (s) |",
        "|--:|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['groups']} | {row['molecule']} | {row['seed']} | "
        f"{'yes' if row['filtered'] == 'True' else 'no'} | {row['median']}, {row['mean']} | "
        f"{row['right']} | {row['fsc']} | {row['oracle_mean']}, {row['oracle_fsc']} | "
        f"{float(row['seconds']):.0f} |"
        for row in rows
    ]
    write_table(
        "noise_groups", "Noise of optics groups", lines, rows[0]["machine"] if rows else "–"
    )


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    for trial in trials():
        if not RECORDED.has(trial.key):
            RECORDED.add(trial.key, run(trial, arguments.folder))
            table()
    table()


if __name__ == "__main__":
    main()
