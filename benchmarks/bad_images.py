"""Stacks with bad images: are they reconstructed as well as without them.

``python benchmarks/bad_images.py FOLDER [N …]`` damages simulated stacks of N particles (600 and
3000) in turn, one line of ``results/bad_images.csv`` each; what is there already is not run again.
The stacks and runs go into FOLDER. Without N it only writes the table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
from cases import COMMAND, Case
from machine import write_table
from results_file import ResultsFile
from scoring import SUCCESS_FSC, SUCCESS_MEAN, score

from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

MOLECULES, NUMBERS, SHARES = ("spike", "30S"), (600, 3000), (0.005, 0.02)
# in standard deviations of an image; pixels
_BEAD, _BEAD_WIDTH, _WILD, _WILD_PIXELS = 50.0, 8, 500.0, 3
RECORDED = ResultsFile(
    "bad_images",
    "molecule n kind share".split(),
    "bad seconds median mean fsc_fraction verdict used note".split(),
)
OPTIONS = ("--box", "32", "--preset", "default", "--seed", "0", "--threads", "1")


def bead(image: np.ndarray, rng: np.random.Generator) -> None:
    """Put a round bead, bright or dark, anywhere into an image."""
    across = np.arange(len(image))
    y, x = rng.uniform(0, len(image), 2)
    inside = (across - x) ** 2 + (across[:, None] - y) ** 2 <= (_BEAD_WIDTH / 2) ** 2
    image[inside] += rng.choice((-1, 1)) * _BEAD * image.std()


def wild(image: np.ndarray, rng: np.random.Generator) -> None:
    """Make a few pixels of an image wild."""
    places = rng.choice(image.size, _WILD_PIXELS, replace=False)
    image.flat[places] += _WILD * image.std()


def mixture(image: np.ndarray, rng: np.random.Generator) -> None:
    """Damage an image in one of the ways."""
    list(DAMAGES.values())[rng.integers(4)](image, rng)


DAMAGES: dict[str, Callable[[np.ndarray, np.random.Generator], None]] = {
    "beads": bead,
    "wild pixels": wild,
    "blanks": lambda image, _: image.fill(image.mean()),
    "NaN": lambda image, _: image.fill(np.nan),
    "of each": mixture,
}


@dataclass(frozen=True)
class Trial:
    """A molecule, a number of particles, a kind of damage, and the share of images that have it."""

    molecule: str
    n: int
    kind: str = "none"
    share: float = 0.0

    def key(self) -> tuple[str, ...]:
        """Return what tells it from other trials."""
        return (self.molecule, str(self.n), self.kind, f"{self.share:g}")

    def stack(self, folder: Path) -> tuple[Path, int]:
        """Return the folder of the stack, damaged if need be, and its number of bad images."""
        clean = Case(self.molecule, self.n).stack(folder / "stacks")
        if not self.share:
            return clean, 0
        target = folder / "damaged"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(clean, target)
        rng = np.random.default_rng(1)
        rows = rng.choice(self.n, round(self.share * self.n), replace=False)
        with mrcfile.mmap(target / "particles.mrcs", mode="r+") as file:
            for row in rows:
                DAMAGES[self.kind](file.data[row], rng)
        return target, len(rows)


def trials(n: int) -> list[Trial]:
    """Return the trials of a number of particles."""
    return [
        trial
        for molecule in MOLECULES
        for trial in (
            Trial(molecule, n),
            *(Trial(molecule, n, kind, share) for share in SHARES for kind in DAMAGES),
        )
    ]


def run(trial: Trial, folder: Path) -> dict[str, object]:
    """Reconstruct and score."""
    stack, bad = trial.stack(folder)
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    started = time.monotonic()
    words = ["reconstruct", str(stack / "particles.star"), *OPTIONS, "--out", str(out)]
    subprocess.run([*COMMAND, *words], check=True, capture_output=True)
    seconds = time.monotonic() - started
    made = RunFolder(out)
    first = json.loads(made.events_path.read_text().splitlines()[0])
    found = score(made.star_path, made.map_path, stack)
    return {
        "bad": bad,
        "seconds": f"{seconds:.1f}",
        "median": f"{found.median:.4f}",
        "mean": f"{found.mean:.4f}",
        "fsc_fraction": f"{found.fsc_fraction:.4f}",
        "verdict": json.loads(made.verdict_path.read_text())["outcome"],
        "used": first["n_particles"],
        "note": " ".join(first["notes"]),
    }


def right(row: dict[str, str]) -> bool:
    """Return whether the structure was found, as in ``reliability.py``."""
    return float(row["mean"]) <= SUCCESS_MEAN and float(row["fsc_fraction"]) >= SUCCESS_FSC


def table() -> None:
    """Write ``results/bad_images.md``."""
    rows = RECORDED.rows()
    lines = [
        "A share of the images of simulated stacks (box 128, SNR 0.1, seed 0) is damaged: a bead "
        f"of {_BEAD_WIDTH} px and ±{_BEAD:g} standard deviations of the image, anywhere; "
        f"{_WILD_PIXELS} pixels of {_WILD:g} standard deviations; one value all over; NaN all "
        "over; or any of these. Preset `default`, working box 32, one thread. Right: mean pose "
        "error ≤ 5° and FSC 0.5 at ≥ 90 % of Nyquist. "
        f"{sum(map(right, rows))} of {len(rows)} are right.",
        "",
        "| molecule | n | damage | bad images | used | median (°) | mean (°) | FSC 0.5 / Nyquist | "
        "right | verdict | note | time (s) |",
        "|---|--:|---|--:|--:|--:|--:|--:|---|---|---|--:|",
    ]
    for row in sorted(rows, key=lambda row: (int(row["n"]), row["molecule"], float(row["share"]))):
        lines.append(
            f"| {row['molecule']} | {row['n']} | {row['kind']} | {row['bad']} | {row['used']} | "
            f"{float(row['median']):.2f} | {float(row['mean']):.2f} | "
            f"{float(row['fsc_fraction']):.2f} | {'yes' if right(row) else '**no**'} | "
            f"{row['verdict']} | {row['note']} | {float(row['seconds']):.0f} |"
        )
    write_table("bad_images", "Stacks with bad images", lines, rows[0]["machine"] if rows else "–")


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("numbers", nargs="*", type=int, metavar="N", help=f"of {NUMBERS}")
    arguments = parser.parse_args()
    for n in arguments.numbers:
        for trial in trials(n):
            if not RECORDED.has(trial.key()):
                RECORDED.add(trial.key(), run(trial, arguments.folder))
                table()
    table()


if __name__ == "__main__":
    main()
