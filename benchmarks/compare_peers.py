"""The same particle stack in napari-cryospin, RELION, cryoDRGN and ASPIRE, scored by the same code.

``python benchmarks/compare_peers.py FOLDER --cryodrgn PYTHON --aspire PYTHON`` adds a line to
``results/peers.csv`` for each program; what is there is not run again. Stacks and runs go into
FOLDER. RELION is taken from the PATH.
"""

from __future__ import annotations

import argparse
import bisect
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cases import Case
from known import read_known
from machine import description, load_of, write_table
from oracle import oracle_poses
from peers.programs import THREADS, TooLongError, aspire, cryodrgn, napari_cryospin, relion
from peers.working_stack import write_working_stack
from results_file import ResultsFile
from scoring import pose_errors, score

from napari_cryospin.engine.data.star import read_star

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers.programs import Outcome

BOX, SEED = 64, 0
CASES = [Case(molecule, 2000, seed=SEED) for molecule in ("spike", "30S")]
# the map is there when its FSC with the truth stays above 0.5 up to this share of Nyquist
THERE = 0.8
RECORDED = ResultsFile(
    "peers",
    ("molecule", "n", "box", "program"),
    ("seconds", "seconds_to_map", "poses", "median", "mean", "fsc_fraction"),
)


def programs(arguments: argparse.Namespace) -> dict[str, Callable[..., Outcome]]:
    """Return the programs that are there."""
    found: dict[str, Callable[..., Outcome]] = {"napari-cryospin": napari_cryospin}
    if arguments.aspire:
        found["ASPIRE"] = partial(aspire, python=arguments.aspire)
    if arguments.cryodrgn:
        found["cryoDRGN"] = partial(cryodrgn, python=arguments.cryodrgn)
    if shutil.which("relion_refine"):
        found["RELION"] = relion
    return {name: run for name, run in found.items() if name in (arguments.only or found)}


def figures(outcome: Outcome, stack: Path) -> dict[str, object]:
    """Score an outcome; maps on the way are aligned by the final poses."""
    found = score(outcome.star, outcome.maps[-1][1], stack)
    reached = time_to_map(outcome, stack) if found.fsc_fraction >= THERE else None
    return {
        "seconds": f"{'' if outcome.whole else '> '}{outcome.seconds:.0f}",
        "seconds_to_map": "" if reached is None else f"{reached:.0f}",
        "poses": read_star(outcome.star).n_particles,
        "median": f"{found.median:.3f}",
        "mean": f"{found.mean:.3f}",
        "fsc_fraction": f"{found.fsc_fraction:.3f}",
    }


def time_to_map(outcome: Outcome, stack: Path) -> float:
    """Return the seconds after which the map was there, in a run whose last map is.

    By bisection: once a map is there, the later ones are.
    """
    first = bisect.bisect_left(
        outcome.maps[:-1],
        True,
        key=lambda dated: score(outcome.star, dated[1], stack).fsc_fraction >= THERE,
    )
    return outcome.maps[first][0]


def oracle(stack: Path) -> dict[str, object]:
    """Return the errors of the poses that the true map gives."""
    known = read_known(stack, BOX)
    errors, _ = pose_errors(oracle_poses(known, shifts=False), known.rotations, None)
    mean, median = f"{errors.mean():.3f}", f"{np.median(errors):.3f}"
    return {"poses": len(errors), "median": median, "mean": mean}


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cryodrgn", type=Path, help="Python of cryoDRGN's environment.")
    parser.add_argument("--aspire", type=Path, help="Python of ASPIRE's environment.")
    parser.add_argument("--only", nargs="+", help="Names of programs; by default all.")
    parser.add_argument("--limit", type=float, default=120, help="Minutes for each program.")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    for case in CASES:
        stack = case.stack(folder / "stacks")
        star = write_working_stack(stack, BOX, folder / "peers" / case.name / "stack")
        for name, run in programs(arguments).items():
            key = (case.molecule, str(case.n), str(BOX), name)
            if RECORDED.has(key):
                continue
            out = folder / "peers" / case.name / name
            shutil.rmtree(out, ignore_errors=True)
            limit = 60 * arguments.limit
            try:
                found = figures(run(star, out, BOX, SEED, limit), stack)
            except TooLongError:
                found = {"seconds": f"> {limit:.0f}"}
            RECORDED.add(key, found)
        key = (case.molecule, str(case.n), str(BOX), "oracle")
        if not RECORDED.has(key):
            RECORDED.add(key, oracle(stack))
    table()


def table() -> None:
    """Write ``results/peers.md``."""
    rows = RECORDED.rows()
    lines = [
        f"One stack, cropped to box {BOX}, centred particles, SNR 0.1 at box 128, {THREADS} "
        f"threads each. *Time to map*: until the FSC with the truth stays above 0.5 up to "
        f"{THERE:.0%} of Nyquist; ASPIRE tells of no map before its last. *Poses*: particles that "
        "a program gives poses to; ASPIRE orients class averages, whose poses are those of the "
        "particles that they were built around. *>*: ended then; poses and map are what it had. "
        "Errors in degrees. *Oracle*: the same particles against the true map. *Load*: of the "
        "machine at the end; where it is above 2, something else ran beside the program.",
        "",
        "| molecule | n | program | time (s) | time to map (s) | poses | median | mean | "
        "FSC 0.5 / Nyquist | load |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda row: row["molecule"]):
        cells = (row["molecule"], row["n"], row["program"], row["seconds"], row["seconds_to_map"])
        cells += (row["poses"], row["median"], row["mean"], row["fsc_fraction"])
        cells += (load_of(row["machine"]),)
        lines.append("| " + " | ".join(cell or "–" for cell in cells) + " |")
    machine = rows[0]["machine"] if rows else description()
    write_table("peers", "Ab-initio reconstruction by four programs", lines, machine)


if __name__ == "__main__":
    main()
