"""Mutated files for every reader: each must be read, or refused in one sentence, in bounds.

Run it with ``python benchmarks/fuzz.py --number 3000``; it writes ``results/fuzz.md`` and ends with
code 1 if a file ended in anything but reading or one sentence, took over 2 s or over 500 MiB.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzzing.batch import outcomes
from fuzzing.kinds import KINDS
from fuzzing.trial import Outcome, make, seeds_of
from machine import description, write_table


def main() -> int:
    """Run the campaign and return the exit code."""
    options = _options()
    machine = description()
    lines = [
        f"Seed {options.seed}. Processor time and growth of memory: the largest of any file.",
        "",
        "| kind | files | read | refused | ended badly | time (s) | memory (MiB) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    bad = 0
    for name in options.kinds:
        found = []
        for outcome in outcomes(name, options.seed, options.number):
            found.append(outcome)
            if not outcome.well:
                print(f"{name} {outcome.index}: {outcome.ending}", flush=True)
                _keep(options.keep, name, options.seed, outcome)
        bad += sum(not outcome.well for outcome in found)
        lines.append(_row(name, found))
    if options.no_table:
        print("\n".join(lines))
    else:
        write_table("fuzz", "Mutated files, kind by kind", lines, machine)
    return int(bad > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=3500, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--keep", type=Path, help="folder for files that ended badly")
    parser.add_argument("--no-table", action="store_true", help="print only")
    return parser.parse_args()


def _row(name: str, found: list[Outcome]) -> str:
    count = {ending: sum(x.ending == ending for x in found) for ending in ("read", "refused")}
    bad = sum(not outcome.well for outcome in found)
    seconds = max(outcome.seconds for outcome in found)
    growth = max(outcome.growth for outcome in found) / 2**20
    return (
        f"| {name} | {len(found)} | {count['read']} | {count['refused']} | {bad} | {seconds:.2f} "
        f"| {growth:.0f} |"
    )


def _keep(folder: Path | None, name: str, seed: int, outcome: Outcome) -> None:
    """Write the file of an outcome once more, to look at."""
    if folder is None:
        return
    place = folder / f"{name}_{seed}_{outcome.index}"
    place.mkdir(parents=True, exist_ok=True)
    make(name, KINDS[name], seeds_of(KINDS[name], place), seed, outcome.index)


if __name__ == "__main__":
    sys.exit(main())
