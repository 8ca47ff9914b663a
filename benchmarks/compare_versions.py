"""Another version of the program beside this one: the same stacks, at the same time.

``python benchmarks/compare_versions.py FOLDER OTHER [CASE …]`` runs preset ``default`` on stacks of
simulated particles with the sources in the checkout OTHER and with these, side by side with one
thread each, and adds a line of ``results/compare_versions.csv``; what is there already is not run
again. A case is MOLECULE:SEED:PARTICLES:BOX:SHIFT, the last a share of the box; without shift they
are not estimated. Processor time is compared, which the load of the machine moves less than the
time on the clock. The sources of OTHER must have run before, so that nothing is compiled.
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
CASES = (
    "30S:1:3000:64:0.03",
    "spike:1:3000:64:0",
    "50S:2:5000:64:0.03",
    "spliceosome:2:5000:64:0",
    *(f"{name}:0:3000:32:{shift}" for name in ("spike", "30S", "50S") for shift in ("0", "0.03")),
)
OPTIONS = ("--preset", "default", "--threads", "1")
KEYS = ("molecule", "seed", "particles", "box", "shift")
FIGURES = ("seconds", "median", "mean", "fsc_fraction")
RECORDED = ResultsFile(
    "compare_versions",
    KEYS,
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


def compare(case: tuple[str, ...], folder: Path, other: Path) -> dict[str, str]:
    """Run both versions on a stack."""
    molecule, seed, particles, box, shift = case
    stack = Case(molecule, int(particles), int(seed), shift=float(shift)).stack(folder / "stacks")
    outs = {"other": folder / "other", "this": folder / "this"}
    checkouts = {"other": other, "this": OWN}
    words = (*OPTIONS, "--seed", seed, "--box", box, *(() if float(shift) else ("--no-shifts",)))
    begun = {which: begin(stack, outs[which], *words, checkout=checkouts[which]) for which in outs}
    figures: dict[str, str] = {}
    for which, process in begun.items():
        figures |= figures_of(process, outs[which], stack, which)
    return figures


def table() -> None:
    """Write ``results/compare_versions.md``."""
    rows = RECORDED.rows()
    lines = [
        "SNR 0.1, preset `default`, one thread; both versions at the same time. Shifts: a standard "
        "deviation per axis as a share of the box; 0: they are not estimated. Median and mean pose "
        "error, FSC 0.5 as a share of Nyquist, processor time.",
        "",
        "| molecule | seed | particles | box | shifts | median, mean (°): other | this | "
        "FSC: other | this | time (s): other | this | ratio |",
        "|---|--:|--:|--:|--:|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        value = {name: float(row[name]) for name in RECORDED.figures}
        lines.append(
            f"| {' | '.join(row[key] for key in KEYS)} | "
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
    parser.add_argument("cases", nargs="*", default=CASES)
    arguments = parser.parse_args()
    for case in (tuple(words.split(":")) for words in arguments.cases):
        if not RECORDED.has(case):
            RECORDED.add(case, compare(case, arguments.folder, arguments.other))
            table()
    table()


if __name__ == "__main__":
    main()
