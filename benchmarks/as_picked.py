"""Particles as picked: junk, all nuisances at once, two structures in one stack, symmetries.

``python benchmarks/as_picked.py FOLDER [KIND …]`` reconstructs simulated stacks by the default
preset, with no option but the box, one thread each, and adds a line of ``results/as_picked.csv``;
what is there already is not run again. Beside each is its oracle: the poses that the true map gives
to the particles that belong to it, with the true noise. A run that was not told of a symmetry is
gone on with by ``symmetrise``, without a name, which is a line of its own.
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
from machine import write_table
from oracle import oracle_fsc, oracle_poses
from results_file import ResultsFile
from scipy.stats import mannwhitneyu
from scoring import is_right, pose_errors, score
from timed_run import begin, seconds_of, started

from napari_cryospin.engine.data.belonging import MEMBERSHIP
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.texts import numbers_of
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BOX = 32
OFTEN = ("spike", "spliceosome", "30S")
_CAP = ("--views", "cap", "--view-angle", "60")
UNKIND = ("--realistic", "--off-centre", "0.04", "--junk", "0.2", *_CAP)
# as strong as all other noise
_SLOW = ("--background", "1")
# assemblies that no rule was set on
_UNSEEN = (
    ("O", "spliceosome", 3),
    ("I", "50S", 4),
    ("T", "spliceosome", 5),
    ("O", "Hsp90", 6),
    ("D7", "50S", 7),
    ("T", "30S", 8),
    ("I", "spliceosome", 9),
    ("D5", "spliceosome", 2),
)
_PAIRS = {
    "spike": "30S",
    "spliceosome": "50S",
    "30S": "spliceosome",
    "kinase": "closed kinase",
}


@dataclass(frozen=True)
class Trial:
    """A stack: its kind, what it shows, and the options that it is simulated with.

    ``symmetry`` is its molecule's, which the program is told where it is ``imposed``.
    """

    kind: str
    molecule: str
    seed: int
    options: tuple[str, ...] = ()
    symmetry: str = "C1"
    imposed: bool = False
    second: tuple[str, float] | None = None

    @property
    def goes_on(self) -> bool:
        """Whether it is gone on with by the symmetry that was found."""
        return self.symmetry != "C1" and not self.imposed

    @property
    def key_of_second(self) -> tuple[str, str, str]:
        """What tells the run that goes on with a symmetry from others."""
        return f"{self.symmetry} found, then imposed", self.molecule, str(self.seed)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others."""
        return self.kind, self.molecule, str(self.seed)

    def stack(self, folder: Path) -> Path:
        """Simulate it, and return its folder."""
        case = Case(self.molecule, 3000, self.seed, second=self.second, unkind=self.options)
        return case.stack(folder / "stacks")


def trials() -> list[Trial]:
    """Return all trials, those of each kind together."""
    found = [
        Trial(f"junk {percent} %", molecule, seed, ("--junk", f"{percent / 100:g}"))
        for percent in (15, 30, 50)
        for molecule in OFTEN
        for seed in (0, 1)
    ]
    found += [
        Trial("all at once", molecule, seed, UNKIND) for seed in range(8) for molecule in OFTEN
    ]
    found += [Trial("slow background", molecule, 0, _SLOW) for molecule in OFTEN]
    for molecule, other in _PAIRS.items():
        found += [
            Trial(
                f"{100 - percent}/{percent} {other}",
                molecule,
                seed,
                second=(other, percent / 100),
            )
            for percent in (30, 50)
            for seed in (0, 1)
        ]
    for imposed in (True, False):
        found += [
            Trial(
                f"{group} {'imposed' if imposed else 'not told'}",
                molecule,
                0,
                ("--symmetry", group),
                group,
                imposed,
            )
            for group in ("C2", "C4", "D2", "D7", "O", "I")
            for molecule in ("30S", "spike")
        ]
    found += [
        Trial(f"{group} not told", molecule, seed, ("--symmetry", group), group)
        for group, molecule, seed in _UNSEEN
    ]
    found += [
        Trial("no symmetry", molecule, 0, ())
        for molecule in ("30S", "spliceosome", "50S", "spike", "Hsp90")
    ]
    return found


KEYS = ("kind", "molecule", "seed")
FIGURES = (
    *("median", "mean", "right", "fsc", "oracle_mean", "oracle_fsc"),
    *("good_kept", "junk_kept", "curve", "worst_curve", "worst_kind"),
    *("outcome", "cause", "named", "seconds"),
)
RECORDED = ResultsFile("as_picked", KEYS, FIGURES)


def run(trial: Trial, folder: Path) -> Iterator[tuple[tuple[str, str, str], dict[str, object]]]:
    """Reconstruct a stack; yield key and figures of the result, and of a run that goes on."""
    stack = trial.stack(folder)
    out = folder / "as_picked" / "_".join(trial.key).translate(str.maketrans(" %/", "___"))
    seed = ("--seed", trial.seed)
    told = ("--symmetry", trial.symmetry) if trial.imposed else ()
    seconds = seconds_of(begin(stack, out, "--box", BOX, "--threads", 1, *seed, *told))
    yield trial.key, figures(trial, stack, out, seconds)
    found = json.loads((out / "verdict.json").read_text())["symmetry"]
    if trial.goes_on and found is not None:
        second = out.with_name(f"{out.name}_{found}")
        shutil.rmtree(second, ignore_errors=True)
        seconds = seconds_of(started("symmetrise", out))
        yield trial.key_of_second, figures(trial, stack, second, seconds)
        shutil.rmtree(second)
    # hundreds of megabytes, most of them branch points
    shutil.rmtree(out)


def figures(trial: Trial, stack: Path, out: Path, seconds: float) -> dict[str, object]:
    """Return the figures of a run's result."""
    result = RunFolder(out)
    found = score(result.star_path, result.map_path, stack, symmetry=trial.symmetry)
    known = read_known(stack, BOX)
    oracle = oracle_poses(known, shifts=True, coloured=True)
    group, own = point_group(trial.symmetry), known.belongs
    errors, _ = pose_errors(oracle[own], known.rotations[own], None, group)
    verdict = json.loads((out / "verdict.json").read_text())
    pseudo = verdict.get("pseudo_symmetry")
    return {
        "median": f"{found.median:.3f}",
        "mean": f"{found.mean:.3f}",
        "right": f"{found.right:.4f}",
        "fsc": f"{found.fsc_fraction:.3f}",
        "oracle_mean": f"{errors.mean():.3f}",
        "oracle_fsc": f"{oracle_fsc(known):.3f}",
        **memberships(result.star_path, stack),
        "outcome": verdict["outcome"],
        "cause": verdict["cause"] or "",
        "named": verdict["symmetry"] or (f"pseudo {pseudo}" if pseudo else ""),
        "seconds": f"{seconds:.1f}",
    }


def memberships(star: Path, stack: Path) -> dict[str, str]:
    """Return how memberships tell particles from junk: shares kept, and areas under the curve."""
    table, truth = read_table(star), read_table(stack / "truth.star")
    assert isinstance(table.original, StarOriginal) and isinstance(truth.original, StarOriginal)
    rows = [int(index) for index in table.image_index]
    told = numbers_of(table.original.blocks[table.original.particles][MEMBERSHIP])
    junk = np.array(list(truth.original.blocks[truth.original.particles]["cryospinJunk"]))[rows]
    good = junk == "none"
    figures = {"good_kept": f"{(told[good] >= 0.5).mean():.4f}"}
    if good.all():
        return figures | dict.fromkeys(("junk_kept", "curve", "worst_curve", "worst_kind"), "")
    areas = {kind: _area(told[good], told[junk == kind]) for kind in set(junk) - {"none"}}
    worst = min(areas, key=lambda kind: areas[kind])
    return figures | {
        "junk_kept": f"{(told[~good] >= 0.5).mean():.4f}",
        "curve": f"{_area(told[good], told[~good]):.4f}",
        "worst_curve": f"{areas[worst]:.4f}",
        "worst_kind": worst,
    }


def _area(good: np.ndarray, others: np.ndarray) -> float:
    """Return the area under the curve: how often a particle has more than what is none."""
    return float(mannwhitneyu(good, others).statistic) / (len(good) * len(others))


def table() -> None:
    """Write ``results/as_picked.md``."""
    rows = RECORDED.rows()
    lines = [
        "3,000 particles, SNR 0.1 at 128 px, box 32, the default preset with no other option, one "
        "thread. Pose errors are of the particles that belong to the map's structure. Right: mean "
        "at most 5° and FSC 0.5 at 90 % of Nyquist, or within 5 % of the oracle's. Kept: share "
        "with a membership of 0.5 or more. Curve: area under it, of all junk and of the kind that "
        "is told worst. *All at once*: "
        + " ".join(UNKIND)
        + "; *slow background*: "
        + " ".join(_SLOW)
        + ". Time: of the processor.",
        "",
        "| stack | molecule | seed | median, mean (°) | right mode | FSC 0.5 | oracle: mean, FSC | "
        "right | good kept | junk kept | curve | worst kind | verdict | cause | symmetry named | "
        "time (s) |",
        "|---|---|--:|--:|--:|--:|--:|---|--:|--:|--:|---|---|---|---|--:|",
        *map(_line, rows),
        "",
        *_counts(rows),
    ]
    machine = rows[0]["machine"] if rows else "–"
    write_table("as_picked", "Particles as picked", lines, machine)


def _line(row: Mapping[str, str]) -> str:
    worst = f"{row['worst_kind']} {row['worst_curve']}" if row["worst_kind"] else ""
    cells = [
        *(row[key] for key in KEYS),
        f"{float(row['median']):.2f}, {float(row['mean']):.2f}",
        f"{float(row['right']):.3f}",
        f"{float(row['fsc']):.2f}",
        f"{float(row['oracle_mean']):.2f}, {float(row['oracle_fsc']):.2f}",
        "yes" if is_right(row) else "**no**",
        *(row[name] for name in ("good_kept", "junk_kept", "curve")),
        worst,
        *(row[name] for name in ("outcome", "cause", "named")),
        f"{float(row['seconds']):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _counts(rows: list[dict[str, str]]) -> list[str]:
    """Return how many of each kind are right."""
    said = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        middle = float(np.median([float(row["seconds"]) for row in own]))
        right = sum(map(is_right, own))
        said.append(f"{kind}: {right} of {len(own)} right, median time {middle:.0f} s.  ")
    return said


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", nargs="*", help="beginnings of kinds, such as junk")
    arguments = parser.parse_args()
    for trial in trials():
        wanted = not arguments.kinds or trial.kind.startswith(tuple(arguments.kinds))
        if wanted and not RECORDED.has(trial.key):
            for key, of_run in run(trial, arguments.folder):
                RECORDED.add(key, of_run)
                table()
    table()


if __name__ == "__main__":
    main()
