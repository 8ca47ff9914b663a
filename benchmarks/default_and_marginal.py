"""Preset ``default`` beside ``marginal``: the same stacks, at the same time.

``python benchmarks/default_and_marginal.py FOLDER [CASE …]`` runs both presets on stacks of
simulated particles, side by side with one thread each, and adds a line of
``results/default_and_marginal.csv``; what is there already is not run again. A case is
MOLECULE:SEED:PARTICLES:BOX:KIND; stacks are "clean" or "realistic": all nuisances of the simulator,
with a tenth of junk. Processor time of the whole command is compared, which the load of the machine
moves less than the time on the clock.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cases import Case
from machine import write_table
from results_file import ResultsFile
from scoring import SUCCESS_MEAN, score
from timed_run import begin, seconds_of

from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping

PRESETS = ("default", "marginal")
MOLECULES = ("spike", "30S", "spliceosome", "50S")
KINDS: dict[str, tuple[str, ...]] = {"clean": (), "realistic": ("--realistic", "--junk", "0.1")}
CASES = (
    *(
        f"{molecule}:0:{particles}:{box}:clean"
        for particles in (3000, 10_000)
        for box in (32, 64)
        for molecule in MOLECULES
    ),
    *(f"{molecule}:{seed}:3000:32:realistic" for seed in (1, 2) for molecule in MOLECULES),
)
KEYS = ("molecule", "seed", "particles", "box", "kind")
FIGURES = ("seconds", "median", "mean", "right", "fsc_fraction")
RECORDED = ResultsFile(
    "default_and_marginal",
    KEYS,
    [f"{name}_{preset}" for preset in PRESETS for name in FIGURES],
)


def compare(case: tuple[str, ...], folder: Path) -> dict[str, str]:
    """Run both presets on a stack."""
    molecule, seed, particles, box, kind = case
    stack = Case(molecule, int(particles), int(seed), unkind=KINDS[kind]).stack(folder / "stacks")
    options = ("--threads", 1, "--seed", seed, "--box", box)
    begun = {
        preset: begin(stack, folder / preset, "--preset", preset, *options) for preset in PRESETS
    }
    figures: dict[str, str] = {}
    for preset, process in begun.items():
        seconds, run = seconds_of(process), RunFolder(folder / preset)
        found = score(run.star_path, run.map_path, stack)
        values = (seconds, found.median, found.mean, found.right, found.fsc_fraction)
        for name, value in zip(FIGURES, values, strict=True):
            figures[f"{name}_{preset}"] = f"{value:.4f}"
    return figures


def table() -> None:
    """Write ``results/default_and_marginal.md``."""
    rows = RECORDED.rows()
    lines = [
        "SNR 0.1, shifts searched, two starts each, one thread; both presets at the same time. "
        "Median and mean pose error, the share in the right mode, FSC 0.5 as a share of Nyquist, "
        "processor time of the whole command. *Realistic*: coloured noise, ice, an envelope, "
        "contrast, neighbours, off-centre, errors of the defocus, and a tenth of junk, which is "
        "not counted.",
        "",
        "| stack | molecule | seed | particles | box | median, mean (°): default | marginal | "
        "right: default | marginal | FSC: default | marginal | time (s): default | marginal | "
        "ratio |",
        "|---|---|--:|--:|--:|---|---|--:|--:|--:|--:|--:|--:|--:|",
        *map(_line, rows),
    ]
    write_table(
        "default_and_marginal",
        "Preset default beside marginal",
        lines,
        rows[0]["machine"] if rows else "–",
    )


def _line(row: Mapping[str, str]) -> str:
    value = {name: float(row[name]) for name in RECORDED.figures}
    errors = []
    for preset in PRESETS:
        mark = "" if value[f"mean_{preset}"] <= SUCCESS_MEAN else " (wrong)"
        errors.append(f"{value[f'median_{preset}']:.2f}, {value[f'mean_{preset}']:.2f}{mark}")
    right = [f"{value[f'right_{preset}']:.3f}" for preset in PRESETS]
    fsc = [f"{value[f'fsc_fraction_{preset}']:.2f}" for preset in PRESETS]
    seconds = [value[f"seconds_{preset}"] for preset in PRESETS]
    about = [row[key] for key in ("kind", "molecule", "seed", "particles", "box")]
    parts = [*about, *errors, *right, *fsc]
    times = [f"{seconds[0]:.0f}", f"{seconds[1]:.0f}", f"{seconds[0] / seconds[1]:.2f}"]
    return f"| {' | '.join((*parts, *times))} |"


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*", default=CASES)
    arguments = parser.parse_args()
    for case in (tuple(words.split(":")) for words in arguments.cases):
        if not RECORDED.has(case):
            RECORDED.add(case, compare(case, arguments.folder))
            table()
    table()


if __name__ == "__main__":
    main()
