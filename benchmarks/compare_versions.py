"""Another version of the program beside this one: the same stacks, at the same time.

``python benchmarks/compare_versions.py FOLDER OTHER [MOLECULE …]`` runs preset ``default`` at box
32 on each stack with the sources in the checkout OTHER and with these, side by side with one thread
each, and adds a line of ``results/compare_versions.csv``; what is there already is not run again.
Processor time is compared, which the load of the machine moves less than the time on the clock.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cases import Case
from machine import write_table
from results_file import ResultsFile
from scoring import score
from timed_run import begin, seconds_of

from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    import subprocess

OWN = Path(__file__).parents[1]
MOLECULES, SEEDS = ("spike", "30S", "spliceosome", "50S"), (0, 1)
OPTIONS = ("--box", "32", "--preset", "default", "--threads", "1")
FIGURES = ("seconds", "median", "mean", "fsc_fraction")
RECORDED = ResultsFile(
    "compare_versions",
    ("molecule", "seed"),
    [f"{name}_{which}" for which in ("other", "this") for name in FIGURES],
)


def figures_of(
    process: subprocess.Popen[bytes], out: Path, stack: Path, which: str
) -> dict[str, str]:
    """Wait for a run, and return its figures."""
    seconds = seconds_of(process)
    run = RunFolder(out)
    found = score(run.star_path, run.map_path, stack)
    figures = (seconds, found.median, found.mean, found.fsc_fraction)
    return {f"{name}_{which}": f"{value:.4f}" for name, value in zip(FIGURES, figures, strict=True)}


def compare(molecule: str, seed: int, folder: Path, other: Path) -> dict[str, str]:
    """Run both versions on a stack."""
    stack = Case(molecule, seed=seed).stack(folder / "stacks")
    outs = {"other": folder / "other", "this": folder / "this"}
    checkouts = {"other": other, "this": OWN}
    words = (*OPTIONS, "--seed", seed)
    begun = {which: begin(stack, outs[which], *words, checkout=checkouts[which]) for which in outs}
    figures: dict[str, str] = {}
    for which, process in begun.items():
        figures |= figures_of(process, outs[which], stack, which)
    return figures


def table() -> None:
    """Write ``results/compare_versions.md``."""
    rows = RECORDED.rows()
    lines = [
        "3,000 particles each, SNR 0.1, preset `default` at box 32, one thread; both versions at "
        "the same time. Median and mean pose error, FSC 0.5 as a share of Nyquist, processor time.",
        "",
        "| molecule | seed | median, mean (°): other | this | FSC: other | this | time (s): "
        "other | this | ratio |",
        "|---|--:|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        value = {name: float(row[name]) for name in RECORDED.figures}
        lines.append(
            f"| {row['molecule']} | {row['seed']} | "
            f"{value['median_other']:.2f}, {value['mean_other']:.2f} | "
            f"{value['median_this']:.2f}, {value['mean_this']:.2f} | "
            f"{value['fsc_fraction_other']:.2f} | {value['fsc_fraction_this']:.2f} | "
            f"{value['seconds_other']:.0f} | {value['seconds_this']:.0f} | "
            f"{value['seconds_this'] / value['seconds_other']:.2f} |"
        )
    title = "This version beside another one"
    write_table("compare_versions", title, lines, rows[0]["machine"] if rows else "–")


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("other", type=Path, help="a checkout of another version")
    parser.add_argument("molecules", nargs="*", default=MOLECULES)
    arguments = parser.parse_args()
    for seed in SEEDS:
        for molecule in arguments.molecules:
            if not RECORDED.has((molecule, str(seed))):
                found = compare(molecule, seed, arguments.folder, arguments.other)
                RECORDED.add((molecule, str(seed)), found)
                table()
    table()


if __name__ == "__main__":
    main()
