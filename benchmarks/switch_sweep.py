"""The automatic switch against fixed ones, by ``napari-cryospin experiment``.

``python benchmarks/switch_sweep.py FOLDER [PRESET …]`` runs one experiment for each preset and
molecule, over seeds and switch epochs, in FOLDER; an experiment that was ended goes on. The table
is made of their ``results.csv``.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w
from cases import COMMAND, Case
from machine import description, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

MOLECULES, SEEDS = ("spike", "spliceosome"), (0, 1, 2)
PRESETS = ("cryospin", "default")
PARTICLES, BOX = 3000, 32
SWITCHES = (4, 8, 12, 16, 20)
AUTO = "auto"
# as good as the best: within this share of its error, or so many degrees; as fast: this factor
_SHARE, _DEGREES, _TIME = 0.1, 0.2, 1.2
Cell = dict[str, str]


def plan(preset: str, stack: Path) -> dict[str, object]:
    """Return an experiment: each seed is auto-encoded once, and switched at every epoch."""
    return {
        "stack": str(stack / "particles.star"),
        "truth_star": str(stack / "truth.star"),
        "preset": preset,
        "seed": list(SEEDS),
        "switch_at": [*SWITCHES, AUTO],
        "settings": {"starts": 1, "data": {"box": BOX}},
    }


def run(preset: str, molecule: str, folder: Path) -> None:
    """Run what is missing of an experiment."""
    stack = Case(molecule, PARTICLES).stack(folder / "stacks")
    name = f"switch_{preset}_{molecule}"
    file = folder / f"{name}.toml"
    file.write_text(tomli_w.dumps(plan(preset, stack)))
    words = ["experiment", str(file), "--out", str(folder / name), "--threads", "1"]
    subprocess.run([*COMMAND, *words], check=True)


def cells_of(preset: str, molecule: str, folder: Path) -> list[Cell]:
    """Return the cells of an experiment that have finished."""
    path = folder / f"switch_{preset}_{molecule}" / "results.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["state"] == "finished"]


def line(preset: str, molecule: str, seed: int, cells: Sequence[Cell]) -> tuple[str, bool] | None:
    """Return a line of the table, and whether the automatic switch is as good and as fast."""
    mine = {cell["switch_at"]: cell for cell in cells if cell["seed"] == str(seed)}
    if mine.keys() != {*map(str, SWITCHES), AUTO}:
        return None
    error = {at: float(cell["mean_pose_error_deg"]) for at, cell in mine.items()}
    seconds = {at: float(cell["seconds_alone"]) for at, cell in mine.items()}
    best = min(error[str(at)] for at in SWITCHES)
    enough = max(best * (1 + _SHARE), best + _DEGREES)
    fastest = min(seconds[at] for at in seconds if error[at] <= enough)
    good = error[AUTO] <= enough and seconds[AUTO] <= _TIME * fastest
    shown = [f"{error[at]:.2f}, {seconds[at]:.0f} s" for at in map(str, SWITCHES)]
    auto = f"{error[AUTO]:.2f}, {seconds[AUTO]:.0f} s ({mine[AUTO]['switched_after']})"
    parts = (preset, molecule, seed, *shown, auto, f"{fastest:.0f} s", "yes" if good else "**no**")
    return f"| {' | '.join(map(str, parts))} |", good


def table(folder: Path) -> None:
    """Write ``results/switch_sweep.md``."""
    found = [
        line(preset, molecule, seed, cells_of(preset, molecule, folder))
        for preset in PRESETS
        for molecule in MOLECULES
        for seed in SEEDS
    ]
    there = [each for each in found if each is not None]
    lines = [
        f"Final mean pose error (°), and the time of training, of runs that switched after so many "
        f"epochs of auto-encoding; *auto*: by the criterion, with the epoch that it chose. One "
        f"start, {PARTICLES:,} particles, box {BOX}, SNR 0.1, shifts searched, one thread. *Fast "
        f"enough* is the fastest of those whose error is within {_SHARE:.0%} or {_DEGREES}° of the "
        f"best. *As good*: auto is one of them, and within {_TIME - 1:.0%} of its time: "
        f"{sum(good for _, good in there)} of {len(there)}.",
        "",
        f"| preset | molecule | seed | {' | '.join(map(str, SWITCHES))} | auto (after) | fast "
        "enough | as good |",
        "|---|---|--:|" + "--:|" * (len(SWITCHES) + 2) + "---|",
        *(text for text, _ in there),
    ]
    write_table("switch_sweep", "When to switch", lines, description())


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("presets", nargs="*", default=PRESETS, metavar="PRESET")
    arguments = parser.parse_args()
    for preset in arguments.presets:
        for molecule in MOLECULES:
            run(preset, molecule, arguments.folder)
            table(arguments.folder)


if __name__ == "__main__":
    main()
