"""Several structures in one stack, and one structure in several classes.

``python benchmarks/classes.py FOLDER [KIND …]`` reconstructs simulated stacks of two structures by
the default preset with ``--classes 2``, and stacks of one with ``--classes 3``, one thread each,
and adds a line of ``results/classes.csv``; what is there already is not run again. Beside each is
its oracle: the classes and poses that the two true maps give.
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
from oracle import oracle_classes
from rand_index import adjusted_rand_index
from results_file import ResultsFile
from scoring import SUCCESS_FSC, SUCCESS_MEAN, pose_errors
from timed_run import begin, seconds_of

from napari_cryospin.engine.data.class_columns import CLASS
from napari_cryospin.engine.data.density import fit_map, read_map
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.texts import numbers_of
from napari_cryospin.engine.evaluation.fsc import crossing_shell
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.runfolder.class_files import of_class
from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from known import Known

BOX, N = 32, 3000
# the third pair is one protein in two states
_PAIRS = {"spike": "30S", "spliceosome": "50S", "kinase": "closed kinase"}
# classes are told as well as they can be from here on: in itself, and of the oracle's
_TOLD, _OF_ORACLE = 0.9, 0.9


@dataclass(frozen=True)
class Trial:
    """A stack of two structures, or of one, and the number of classes that are asked for."""

    kind: str
    molecule: str
    seed: int
    other: str
    share: float
    classes: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others."""
        return self.kind, self.molecule, str(self.seed)

    def stack(self, folder: Path) -> Path:
        """Simulate it, and return its folder."""
        second = (self.other, self.share) if self.other else None
        return Case(self.molecule, N, self.seed, second=second).stack(folder / "stacks")


def trials() -> list[Trial]:
    """Return all trials, those of each kind together."""
    found = [
        Trial(f"{100 - percent}/{percent}", molecule, seed, other, percent / 100, 2)
        for percent in (30, 50)
        for molecule, other in _PAIRS.items()
        for seed in (0, 1)
    ]
    return found + [
        Trial("one structure", molecule, seed, "", 0.0, 3)
        for seed in (0, 1)
        for molecule in ("30S", "spliceosome", "spike")
    ]


KEYS = ("kind", "molecule", "seed")
FIGURES = (
    *("rand", "oracle_rand", "means", "oracle_means", "fscs", "shares"),
    *("outcome", "cause", "same", "kept", "seconds"),
)
RECORDED = ResultsFile("classes", KEYS, FIGURES)


def run(trial: Trial, folder: Path) -> dict[str, object]:
    """Reconstruct a stack, and return the figures of the result."""
    stack = trial.stack(folder)
    out = folder / "classes" / "_".join(trial.key).translate(str.maketrans(" %/", "___"))
    words = ("--box", BOX, "--threads", 1, "--seed", trial.seed, "--classes", trial.classes)
    seconds = seconds_of(begin(stack, out, *words))
    result = RunFolder(out)
    verdict = json.loads((out / "verdict.json").read_text())
    known, true = read_known(stack, BOX), _true_classes(stack)
    star = read_table(result.star_path)
    rows, classes = star.image_index.astype(int), _column(result.star_path, CLASS)
    kept = _column(result.star_path, "cryospinMembership") >= 0.5
    assert star.rotations is not None and star.shifts is not None
    means, fscs = [], []
    for number in np.unique(true):
        own = kept & (true[rows] == number)
        # the class that most of a structure's particles are in is its map
        at = int(np.bincount(classes[own]).argmax())
        there = own & (classes == at)
        truth = Truth(
            known.rotations[rows],
            known.shifts[rows] * known.particles.pixel_size,
            _volume(stack, number, known),
            known.particles.pixel_size,
            there,
        )
        path = of_class(result.map_path, at)
        found = truth.compare(star.rotations, star.shifts, there, read_map(path)[0])
        means.append(found.mean)
        assert found.fsc is not None
        fscs.append(crossing_shell(found.fsc, 0.5) / (len(found.fsc) - 1))
    figures = {
        "rand": f"{adjusted_rand_index(classes[kept], true[rows][kept]):.4f}",
        **_oracle(trial, stack, known, true),
        "means": " ".join(f"{mean:.2f}" for mean in means),
        "fscs": " ".join(f"{value:.2f}" for value in fscs),
        "shares": " ".join(f"{value:.2f}" for value in verdict["class_shares"]),
        "outcome": verdict["outcome"],
        "cause": verdict["cause"] or "",
        "same": ", ".join(verdict["same_classes"]),
        "kept": f"{kept.mean():.3f}",
        "seconds": f"{seconds:.1f}",
    }
    shutil.rmtree(out)
    return figures


def _oracle(trial: Trial, stack: Path, known: Known, true: np.ndarray) -> dict[str, str]:
    if not trial.other:
        return {"oracle_rand": "", "oracle_means": ""}
    rotations, classes = oracle_classes(known, _volume(stack, 2, known))
    means = []
    for number in (1, 2):
        own = (true == number) & (classes == number - 1)
        errors, _ = pose_errors(rotations[own], known.rotations[own], None)
        means.append(errors.mean())
    return {
        "oracle_rand": f"{adjusted_rand_index(classes, true):.4f}",
        "oracle_means": " ".join(f"{mean:.2f}" for mean in means),
    }


def _volume(stack: Path, number: int, known: Known) -> np.ndarray:
    """Return the true map of a structure, from 1, in the images' unit."""
    if number == 1:
        return known.volume
    maps = [
        fit_map(*read_map(stack / name), BOX, known.particles.pixel_size)
        for name in ("truth.mrc", "truth_class2.mrc")
    ]
    # both are in one unit
    factor = float((known.volume * maps[0]).sum() / np.square(maps[0]).sum())
    return factor * maps[1]


def _true_classes(stack: Path) -> np.ndarray:
    """Return the structure of each image, from 1, (n,)."""
    star = stack / "truth.star"
    n = read_table(star).n_particles
    return _column(star, CLASS) if (stack / "truth_class2.mrc").exists() else np.ones(n, int)


def _column(star: Path, name: str) -> np.ndarray:
    original = read_table(star).original
    assert isinstance(original, StarOriginal)
    values = numbers_of(original.blocks[original.particles][name])
    return values.astype(int) if name == CLASS else values


def is_right(row: Mapping[str, str]) -> bool:
    """Return whether both structures' poses and maps are right, and the classes are told."""
    means, fscs = ([float(x) for x in row[name].split()] for name in ("means", "fscs"))
    right = max(means) <= SUCCESS_MEAN and min(fscs) >= SUCCESS_FSC
    if not row["oracle_rand"]:
        return right and row["cause"] == "classes of one structure"
    return right and is_told(row)


def is_told(row: Mapping[str, str]) -> bool:
    """Return whether classes are told as well as they can be."""
    return float(row["rand"]) >= min(_TOLD, _OF_ORACLE * float(row["oracle_rand"]))


def table() -> None:
    """Write ``results/classes.md``."""
    rows = RECORDED.rows()
    lines = [
        f"{N:,} particles, SNR 0.1 at 128 px, box {BOX}, the default preset, one thread: two "
        "structures (spike and 30S, spliceosome and 50S, open and closed adenylate kinase) with "
        "`--classes 2`, one with `--classes 3`. Rand: adjusted Rand index of the classes of the "
        "particles that belong, and of the oracle's, which knows both maps. Pose errors are of "
        "each structure's particles in the class that most of them are in. Right: both means at "
        "most 5°, both maps at 90 % of Nyquist or more, classes told (index 0.9, or 0.9 of the "
        "oracle's); of one structure: maps right, and said to be the same. Time: of the processor.",
        "",
        "| stack | molecule | seed | Rand | oracle | means (°) | oracle (°) | FSC 0.5 | shares | "
        "belong | right | verdict | cause | same | time (s) |",
        "|---|---|--:|--:|--:|---|---|---|---|--:|---|---|---|---|--:|",
        *map(_line, rows),
        "",
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        lines.append(f"{kind}: {sum(map(is_right, own))} of {len(own)} right.  ")
    machine = rows[0]["machine"] if rows else "–"
    write_table("classes", "Several structures, and several classes", lines, machine)


def _line(row: Mapping[str, str]) -> str:
    right = "yes" if is_right(row) else "**no**"
    names = ("rand", "oracle_rand", "means", "oracle_means", "fscs", "shares", "kept")
    first = [row[name] for name in (*KEYS, *names)]
    last = [row[name] for name in ("outcome", "cause", "same", "seconds")]
    return f"| {' | '.join([*first, right, *last])} |"


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", nargs="*", help="beginnings of kinds, such as 70/30")
    arguments = parser.parse_args()
    for trial in trials():
        wanted = not arguments.kinds or trial.kind.startswith(tuple(arguments.kinds))
        if wanted and not RECORDED.has(trial.key):
            RECORDED.add(trial.key, run(trial, arguments.folder))
            table()
    table()


if __name__ == "__main__":
    main()
