"""The near-twofold axis of Hsp90 in its pose posteriors: over a run, and by resolution.

Run ``python benchmarks/hsp90_modes.py FOLDER``: a stack is simulated into FOLDER and reconstructed
there, once. It writes ``results/hsp90_modes.md``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from machine import description, write_table
from posterior_data import WORKING_BOX, Case, case, simulated

from napari_cryospin.engine.evaluation.posteriors import common_rotation, coverage
from napari_cryospin.engine.inference.modes import separation
from napari_cryospin.engine.inference.posterior import PosteriorExplorer, PosteriorOptions
from napari_cryospin.engine.inference.summary import summarise
from napari_cryospin.engine.run.folder import RunFolder
from napari_cryospin.engine.run.records import recorded_epochs
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.run.survey import survey_epoch

PARTICLES, SNR = 3000, 0.1
RADII = (4, 5, 6, 8, 10, 16)


def main() -> None:
    """Reconstruct where that was not done yet, and write the table."""
    machine, folder = description(), Path(sys.argv[1])
    stack = simulated("Hsp90", folder, PARTICLES, SNR)
    run = reconstructed(stack, folder / "Hsp90_run")
    lines = over_epochs(run)
    lines += ["", "## The true map by low-pass", "", *by_low_pass(case(stack))]
    lines += [
        "",
        f"{PARTICLES} particles, box {WORKING_BOX} cropped from 128, SNR {SNR}; preset cpu with 7 "
        "epochs of auto-encoding and 6 of auto-decoding, the first of which begins with a pose "
        "search. A mode counts from 5 % of the probability on the grid of nside 8. The pair is the "
        "rotation of the map that relates the two best modes of most particles with several, and "
        "the share of those particles.",
    ]
    write_table("hsp90_modes", "Modes of Hsp90's pose posteriors", lines, machine)


def reconstructed(stack: Path, run: Path) -> RunFolder:
    """Return the run, made where it is not there."""
    if not (run / "map.mrc").exists():
        options = ["--box", WORKING_BOX, "--epochs-encode", 7, "--epochs-decode", 6]
        truth = ["--truth-star", stack / "truth.star", "--truth-map", stack / "truth.mrc"]
        command = ["napari-cryospin", "reconstruct", stack / "particles.star", "--out", run]
        subprocess.run([str(part) for part in [*command, *options, *truth]], check=True)
    return RunFolder(run)


def over_epochs(run: RunFolder) -> list[str]:
    """Return a line for each epoch of the run."""
    lines = [
        "| epoch | stage | several modes | entropy (nats) | pair | winner in best mode | "
        "truth in a head | in best mode | in any mode |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    snapshot = read_snapshot(run)
    for epoch in recorded_epochs(run):
        one = survey_epoch(run, epoch, snapshot.stack, snapshot.truth)
        shares = (
            one.winner_in_best_mode,
            one.heads_hold_truth,
            one.best_mode_holds_truth,
            one.modes_hold_truth,
        )
        lines.append(
            f"| {epoch + 1} | {one.stage} | {percent(one.multimodal)} | {one.entropy:.2f} | "
            f"{one.pair_angle:.0f}°, {percent(one.pair_share)} | "
            + " | ".join(percent(share) for share in shares)
            + " |"
        )
        print(lines[-1], flush=True)
    return lines


def by_low_pass(known: Case) -> list[str]:
    """Return a line for each low-pass of posteriors against the true map."""
    lines = [
        "| low-pass (Å) | several modes | entropy (nats) | pair | truth in best mode | "
        "in any mode |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    rows, still = np.arange(500), np.zeros((known.stack.n, 2))
    for radius in RADII:
        explorer = PosteriorExplorer(known.stack, PosteriorOptions(radius=radius))
        explorer.set_volume(known.volume)
        found = summarise(explorer, rows, still)
        several, rotations = found.modes.counts > 1, found.modes.rotations
        tolerance = separation(found.modes.nside)
        angle, share = common_rotation(rotations[several, 0], rotations[several, 1], tolerance)
        held = coverage(rotations, known.rotations[rows], tolerance)
        low_pass = known.stack.box * known.stack.pixel_size / radius
        lines.append(
            f"| {low_pass:.0f} | {percent(found.multimodal_share)} | "
            f"{np.median(found.entropy):.2f} | {angle:.0f}°, {percent(share)} | "
            f"{percent(held[0])} | {percent(held[-1])} |"
        )
        print(lines[-1], flush=True)
    return lines


def percent(share: float | None) -> str:
    """Return a share in words."""
    return "–" if share is None else f"{100 * share:.0f} %"


if __name__ == "__main__":
    main()
