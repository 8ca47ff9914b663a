"""Auto-encoding: the encoder told the truth, taught by posteriors, by likelihood; and the switch.

``python benchmarks/auto_encoding.py FOLDER SET …`` adds lines to ``results/auto_encoding.csv``;
what is there is not run again. The stacks go into FOLDER. Sets are "gate", "posterior",
"likelihood" and "figure 4". Seconds are of one thread, and of the processor.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from cases import Case
from encoding_trials import Trial, decoded, encoded, supervised, switch, switched
from machine import load_of, write_table
from results_file import ResultsFile
from scoring import SUCCESS_FSC, SUCCESS_MEAN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MOLECULES = ("spike", "spliceosome", "30S", "50S")
PARTICLES = 3000
# what is asked: mean error of the encoder's poses, angle between heads, share within 30°
ENCODED, SPREAD, RIGHT_SHARE = 12.0, 115.0, 0.95
# images of a batch, and turns at which each is seen
BATCHES = {"64": (64, 1), "64 at 4 turns each": (64, 4), "256": (256, 1)}
# epochs of auto-encoding before the switch: in the midst of it, and at its end
SWITCHES = (8, 22)
RECORDED = ResultsFile(
    "auto_encoding",
    ("set", "molecule", "seed", "option"),
    "mean median right held_mean held_right starts gains seconds epochs polar_spread vgg_spread "
    "decoded_mean decoded_median decoded_fsc decoded_seconds below_after stays_below switched "
    "never_switched oracle_mean oracle_fsc".split(),
)
Row = dict[str, object]


@dataclass(frozen=True)
class Set:
    """A set of trials, and how its table is written.

    Parameters
    ----------
    cases
        Molecules with seeds.
    options
        Names of the lines of a case.
    run
        Yields option and figures of a trial.
    columns
        Columns of the table, with their headings.
    good
        Whether a line shows what is asked; None where it is not asked.
    about
        What the table tells.
    """

    cases: tuple[tuple[str, int], ...]
    options: tuple[str, ...]
    run: Callable[[Trial], Iterator[tuple[str, Row]]]
    columns: Mapping[str, str]
    good: Callable[[Mapping[str, str]], bool | None]
    about: str


def gate(trial: Trial) -> Iterator[tuple[str, Row]]:
    """Teach the true poses by batches of several sizes."""
    for option, (batch, turns) in BATCHES.items():
        yield option, supervised(trial, batch, turns)


def taught(preset: str, starts: int, searches: tuple[int, ...]) -> Callable[..., Iterator]:
    """Return what runs auto-encoding, and auto-decoding with its first search or without."""

    def run(trial: Trial) -> Iterator[tuple[str, Row]]:
        training, before = encoded(trial, preset, starts)
        for n in searches:
            branch, found = switch(trial, training, n)
            option = "first search" if n else "no search"
            yield option, before | found | decoded(trial, branch) | trial.oracle()

    return run


def figure_4(trial: Trial) -> Iterator[tuple[str, Row]]:
    """Switch the run at two epochs."""
    for at in SWITCHES:
        yield f"after {at}", switched(trial, at)


def passes_gate(row: Mapping[str, str]) -> bool:
    """Return whether the encoder learns, and its heads begin apart."""
    spread = min(float(row["polar_spread"]), float(row["vgg_spread"]))
    return float(row["mean"]) <= ENCODED and float(row["seconds"]) <= 20 and spread >= SPREAD


def is_right(row: Mapping[str, str]) -> bool:
    """Return whether poses and map are right after auto-decoding."""
    fsc = float(row["decoded_fsc"])
    bound = min(SUCCESS_FSC, 0.95 * float(row["oracle_fsc"]))
    return float(row["decoded_mean"]) <= SUCCESS_MEAN and fsc >= bound


def encodes(row: Mapping[str, str]) -> bool:
    """Return whether the encoder's own poses are near the truth."""
    return float(row["mean"]) <= ENCODED


_TAUGHT = {
    "starts": "mean of each start (°)",
    "gains": "gain of each (nats)",
    "seconds": "longest start (s)",
    "epochs": "epochs of each",
    "mean": "mean (°)",
    "median": "median (°)",
    "held_mean": "held-out mean (°)",
    "held_right": "held-out within 30°",
    "decoded_mean": "decoded mean (°)",
    "decoded_median": "decoded median (°)",
    "decoded_fsc": "decoded FSC 0.5 / Nyquist",
    "decoded_seconds": "decoding (s)",
    "oracle_mean": "oracle mean (°)",
    "oracle_fsc": "oracle FSC",
}
SETS: dict[str, Set] = {
    "gate": Set(
        tuple((molecule, 0) for molecule in MOLECULES),
        tuple(BATCHES),
        gate,
        {
            "mean": "held-out mean (°)",
            "median": "median (°)",
            "right": "within 30°",
            "seconds": "seconds",
            "polar_spread": "angle between new heads, polar (°)",
            "vgg_spread": "vgg (°)",
        },
        passes_gate,
        "The encoder told the true poses in 500 batches of so many images; its winners by the "
        "true map. Asked: a mean of at most 12° in 20 s, and the heads of a new encoder at least "
        "115° apart (at random: 126°).",
    ),
    "posterior": Set(
        tuple((molecule, seed) for molecule in MOLECULES for seed in range(5)),
        ("first search", "no search"),
        taught("default", 1, (1, 0)),
        _TAUGHT,
        lambda row: (
            float(row["held_mean"]) <= ENCODED
            and float(row["held_right"]) >= RIGHT_SHARE
            and is_right(row)
        ),
        "Taught by posteriors, one start; then auto-decoding, with its first search of doubtful "
        "particles and without. Asked: held-out particles within 12° on average and 95 % of them "
        "within 30°; right after auto-decoding.",
    ),
    "likelihood": Set(
        tuple((m, seed) for seed in range(2) for m in (*MOLECULES, "Hsp90")),
        ("first search",),
        taught("cryospin", 3, (1,)),
        _TAUGHT,
        lambda row: encodes(row) and is_right(row),
        "By likelihood alone, three starts, of which the one with the largest held-out gain goes "
        "on; then auto-decoding. Hsp90 modulo its near-twofold axis. Asked: a mean of at most 12° "
        "before auto-decoding, and right after it.",
    ),
    "figure 4": Set(
        tuple((m, seed) for m in ("spike", "spliceosome") for seed in range(5)),
        tuple(f"after {at}" for at in SWITCHES),
        figure_4,
        {
            "below_after": "below after so many epochs",
            "stays_below": "stays below",
            "switched": "mean error of the switched branch (°)",
            "never_switched": "of the one that never switches (°)",
        },
        lambda row: row["below_after"] == "1" and row["stays_below"] == "yes",
        "One run of auto-encoding by likelihood, which goes on, and a branch of it that switches "
        "to auto-decoding; their mean errors after each epoch from the switch on. Asked: the "
        "branch is below from its first epoch on.",
    ),
}


def tables() -> None:
    """Write ``results/auto_encoding.md``."""
    rows = RECORDED.rows()
    lines = [
        f"{PARTICLES:,} centred particles at box 32, SNR 0.1 at 128; one thread, seconds of the "
        "processor. *Right*: mean pose error ≤ 5°, and FSC 0.5 at ≥ 90 % of Nyquist or within 5 % "
        "of the oracle's. *Oracle*: the same particles against the true map, best pose of the "
        "exact posterior, refined; its FSC is that of the map made with the true poses."
    ]
    for name, made in SETS.items():
        mine = [row for row in rows if row["set"] == name]
        if mine:
            lines += table(name, made, mine)
    machine = rows[0]["machine"] if rows else ""
    write_table("auto_encoding", "Auto-encoding, by teacher", lines, machine)


def table(name: str, made: Set, rows: list[dict[str, str]]) -> list[str]:
    """Return the table of a set."""
    loads = sorted((load_of(row["machine"]) for row in rows), key=float)
    counts = []
    for option in dict.fromkeys(row["option"] for row in rows):
        lines = [row for row in rows if row["option"] == option]
        counts.append(f"{sum(map(bool, map(made.good, lines)))} of {len(lines)} ({option})")
    head = ["molecule", "seed", "", *made.columns.values(), "as asked"]
    return [
        "",
        f"## {name}: {', '.join(counts)}",
        "",
        f"{made.about} Load of the machine: {loads[0]} to {loads[-1]}.",
        "",
        f"| {' | '.join(head)} |",
        "|---|--:|---|" + "--:|" * len(made.columns) + "---|",
        *(
            f"| {row['molecule']} | {row['seed']} | {row['option']} | "
            + " | ".join(row[column] for column in made.columns)
            + f" | {'yes' if made.good(row) else '**no**'} |"
            for row in rows
        ),
    ]


def main() -> None:
    """Run what is missing of the sets, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    trial_of = cache(lambda case: Trial.of(case, arguments.folder))
    for name in arguments.sets:
        made = SETS[name]
        for molecule, seed in made.cases:
            keys = [(name, molecule, str(seed), option) for option in made.options]
            if all(map(RECORDED.has, keys)):
                continue
            # all lines of a case at once: an unfinished one begins anew
            found = list(made.run(trial_of(Case(molecule, PARTICLES, seed=seed))))
            for option, figures in found:
                RECORDED.add((name, molecule, str(seed), option), figures)
    tables()


if __name__ == "__main__":
    main()
