"""Independent halves: whether the resolution that they tell is the one that the truth tells.

``python benchmarks/halves.py FOLDER [KIND …]`` reconstructs noisy stacks, and stacks of pure noise,
by the default preset, one thread each, and adds a line of ``results/halves.csv``; what is there
already is not run again. The resolution is where the FSC of the half-maps, masked and corrected,
falls below 0.143. Beside it stands where the map's FSC with the truth falls below 0.5: with a
half-map's FSC of 0.143 the sum of both has half of its power from the signal (Rosenthal and
Henderson 2003). Poses stand beside those that the true map gives, both modulo the pseudo-twofold of
Hsp90, with the share of the particles that are at the right one of the two mates.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cases import Case
from known import read_known
from machine import write_table
from oracle import oracle_fsc, oracle_poses
from results_file import ResultsFile
from scoring import RIGHT, is_right, pose_errors, pseudo_symmetry, score
from timed_run import begin, seconds_of

from napari_cryospin.engine.evaluation.fsc import crossing_shell
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.fsc import (
    CORRECTED,
    MASKED,
    SHARED,
    TRUTH,
    TRUTH_MASKED,
    UNMASKED,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

BOX = 64
_THRESHOLD = 0.143
# the truth is to end below this share of Nyquist, or there is nothing to tell
_BELOW = 0.7
# B-factors of the envelopes that see to it, Å²: in units of the squared Nyquist period
_ENVELOPES = {"spike": 2400, "30S": 3900, "50S": 3900, "spliceosome": 5900, "Hsp90": 1200}


@dataclass(frozen=True)
class Trial:
    """A stack: what it shows, how noisy it is, and its seed."""

    kind: str
    molecule: str
    n: int
    snr: float
    seed: int

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from others."""
        return self.kind, self.molecule, str(self.n), f"{self.snr:g}", str(self.seed)


def trials() -> list[Trial]:
    """Return all trials."""
    signal = [
        Trial("signal", molecule, 3000, 0.03, seed)
        for seed in (0, 1)
        for molecule in ("spike", "30S", "50S", "spliceosome", "Hsp90")
    ]
    return [*signal, *(Trial("noise", "noise", 1500, 0.1, seed) for seed in range(5))]


KEYS = ("kind", "molecule", "n", "snr", "seed")
FIGURES = (
    *("limit", "unmasked", "masked", "corrected", "truth", "truth_masked", "beyond"),
    *("median", "mean", "right", "fsc", "oracle_mean", "oracle_right", "oracle_fsc"),
    *("outcome", "seconds"),
)
RECORDED = ResultsFile("halves", KEYS, FIGURES)


def run(trial: Trial, folder: Path) -> dict[str, object]:
    """Reconstruct a stack, and return the figures of the result, frequencies in shells."""
    unkind = ("--envelope", str(_ENVELOPES[trial.molecule])) if trial.kind == "signal" else ()
    case = Case(trial.molecule, trial.n, trial.seed, trial.snr, unkind=unkind)
    stack = case.stack(folder / "stacks")
    out = folder / "halves" / "_".join(trial.key)
    truth = ("--truth-star", stack / "truth.star", "--truth-map", stack / "truth.mrc")
    words = ("--box", BOX, "--threads", 1, "--seed", trial.seed, *truth)
    seconds = seconds_of(begin(stack, out, *words))
    result = RunFolder(out)
    curves = result.fsc()
    shared = int(curves[SHARED].sum()) - 1
    pseudo = pseudo_symmetry(stack / "truth.mrc") if trial.molecule == "Hsp90" else None
    found = score(result.star_path, result.map_path, stack, pseudo)
    outcome = json.loads((out / "verdict.json").read_text())["outcome"]
    # hundreds of megabytes, most of them branch points
    shutil.rmtree(out)

    def ends(name: str, threshold: float) -> str:
        return f"{crossing_shell(curves[name], threshold):.2f}"

    return {
        "limit": shared,
        "unmasked": ends(UNMASKED, _THRESHOLD),
        "masked": ends(MASKED, _THRESHOLD),
        "corrected": ends(CORRECTED, _THRESHOLD),
        "truth": ends(TRUTH, 0.5),
        "truth_masked": ends(TRUTH_MASKED, 0.5),
        "beyond": f"{curves[CORRECTED][shared + 1 :].max():.3f}",
        "median": f"{found.median:.2f}",
        "mean": f"{found.mean_modulo:.2f}",
        "right": f"{found.right:.3f}",
        "fsc": f"{found.fsc_fraction:.3f}",
        **(oracle_of(stack, pseudo) if trial.kind == "signal" else {}),
        "outcome": outcome,
        "seconds": f"{seconds:.0f}",
    }


def oracle_of(stack: Path, pseudo: np.ndarray | None) -> dict[str, str]:
    """Return the figures of the poses that the true map gives, and of the map of the true poses."""
    known = read_known(stack, BOX)
    poses = oracle_poses(known, shifts=True, coloured=True)
    errors, nearer = pose_errors(poses, known.rotations, pseudo)
    return {
        "oracle_mean": f"{nearer.mean():.2f}",
        "oracle_right": f"{(errors < RIGHT).mean():.3f}",
        "oracle_fsc": f"{oracle_fsc(known):.3f}",
    }


def table() -> None:
    """Write ``results/halves.md``."""
    rows = RECORDED.rows()
    lines = [
        f"Box {BOX} (Nyquist is shell {BOX // 2}), the default preset, one thread. "
        "Frequencies are shells, in units of 1/box. Halves share what lies up to the limit. FSC of "
        "0.143 between the half-maps; of 0.5 between the map and the truth, without a mask and "
        "with that of the halves. Beyond: the largest corrected FSC of a shell beyond the limit. "
        "Mean errors are modulo the pseudo-twofold of Hsp90, and *right mode* is the share "
        "within 30° of the truth itself; both stand beside those of the true map's poses. Right: a "
        "mean of at most 5° and FSC 0.5 at 90 % of Nyquist, or within 5 % of the oracle's.",
        "",
        "| stack | particles | SNR | seed | limit | unmasked | masked | corrected | truth | "
        "truth, masked | difference: corrected, unmasked | beyond | mean (°), oracle | right mode, "
        "oracle | right | verdict | time (s) |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|---|--:|",
        *map(_line, rows),
        "",
        *_counts(rows),
    ]
    machine = rows[0]["machine"] if rows else "–"
    write_table("halves", "Independent halves", lines, machine)


def difference(row: Mapping[str, str]) -> float:
    """Return by how many shells the halves say more than the truth, in the same mask."""
    return float(row["corrected"]) - float(row["truth_masked"])


def difference_unmasked(row: Mapping[str, str]) -> float:
    """Return the same without masks."""
    return float(row["unmasked"]) - float(row["truth"])


def _line(row: Mapping[str, str]) -> str:
    signal = row["kind"] == "signal"
    cells = [
        *(row[name] for name in ("molecule", "n", "snr", "seed", "limit")),
        *(row[name] for name in ("unmasked", "masked", "corrected")),
        *((row["truth"], row["truth_masked"]) if signal else "––"),
        f"{difference(row):+.2f}, {difference_unmasked(row):+.2f}" if signal else "–",
        row["beyond"],
        f"{row['mean']}, {row['oracle_mean']}" if signal else "–",
        f"{row['right']}, {row['oracle_right']}" if signal else "–",
        ("yes" if is_right(row) else "**no**") if signal else "–",
        row["outcome"],
        row["seconds"],
    ]
    return f"| {' | '.join(cells)} |"


def _counts(rows: list[dict[str, str]]) -> list[str]:
    """Return what it comes to."""
    signal = [row for row in rows if row["kind"] == "signal"]
    told = [row for row in signal if float(row["truth"]) < _BELOW * BOX / 2]
    noise = [row for row in rows if row["kind"] == "noise"]
    quiet = sum(float(row["beyond"]) < _THRESHOLD for row in noise)
    ways = {"masked and corrected": difference, "without a mask": difference_unmasked}
    near = [f"{sum(abs(way(row)) <= 1 for row in told)} {name}" for name, way in ways.items()]
    return [
        f"Within one shell of the truth: {', '.join(near)}, of {len(told)} whose truth ends below "
        f"{_BELOW:g} of Nyquist.  ",
        f"Noise, below {_THRESHOLD} in every shell beyond the limit: {quiet} of {len(noise)}.",
    ]


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", nargs="*", help="signal, noise")
    arguments = parser.parse_args()
    for trial in trials():
        wanted = not arguments.kinds or trial.kind in arguments.kinds
        if wanted and not RECORDED.has(trial.key):
            RECORDED.add(trial.key, run(trial, arguments.folder))
            table()
    table()


if __name__ == "__main__":
    main()
