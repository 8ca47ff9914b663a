"""The near-twofold axis of Hsp90 in its pose posteriors: over a run, and by resolution.

Run ``python benchmarks/hsp90_modes.py FOLDER``: a stack is simulated into FOLDER and reconstructed
there, once. It writes ``results/hsp90_modes.md``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cases import COMMAND, Case
from known import Known, read_known
from machine import description, write_table

from napari_cryospin.engine.evaluation.alignment import align_rotations
from napari_cryospin.engine.evaluation.posteriors import common_rotation, coverage
from napari_cryospin.engine.geometry.cells import separation
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.posterior.summary import summarise
from napari_cryospin.engine.run.snapshot import read_epoch, read_snapshot
from napari_cryospin.engine.run.survey import figures_of, probe_rows
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import recorded_epochs
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from napari_cryospin.engine.events import PosesUpdated
    from napari_cryospin.engine.posterior.summary import PosteriorSummary

BOX = 64
RADII = (4, 5, 6, 8, 10, 16)


def main() -> None:
    """Reconstruct where that was not done yet, and write the table."""
    machine, folder = description(), Path(sys.argv[1])
    stack = Case("Hsp90", seed=1).stack(folder)
    run = reconstructed(stack, folder / "Hsp90_run")
    known = read_known(stack, BOX)
    turn = near_twofold(known)
    lines = over_epochs(run, known, turn)
    lines += ["", "## The true map by low-pass", "", *by_low_pass(known)]
    lines += [
        "",
        f"{known.particles.n} particles, box {BOX} cropped from 128, SNR 0.1; preset cryospin, "
        "seed 1. A mode counts from 5 % of the probability on the grid of nside 8; *among the "
        "modes* are up to 8 of any weight. The mate of the truth is the true pose turned by the "
        "near-twofold axis; both are compared after alignment with the truth, within 20°. The pair "
        "is the rotation of the map that relates the two best modes of most particles with "
        "several, and the share of those particles.",
    ]
    write_table("hsp90_modes", "Modes of Hsp90's pose posteriors", lines, machine)


def reconstructed(stack: Path, run: Path) -> RunFolder:
    """Return the run, made where it is not there."""
    if not RunFolder(run).map_path.exists():
        options = ["--box", BOX, "--preset", "cryospin", "--seed", 1]
        truth = ["--truth-star", stack / "truth.star", "--truth-map", stack / "truth.mrc"]
        command = [*COMMAND, "reconstruct", stack / "particles.star", "--out", run]
        subprocess.run([str(part) for part in [*command, *options, *truth]], check=True)
    return RunFolder(run)


def near_twofold(known: Known) -> np.ndarray:
    """Return the rotation of the true map, (3, 3), that relates most pairs of modes at 44 Å."""
    posteriors = ParticlePosteriors(known.particles, PosteriorOptions(radius=5))
    posteriors.set_volume(known.volume)
    rows = np.arange(300)
    modes = summarise(posteriors, rows, np.zeros((known.particles.n, 2))).modes
    rotations = modes.rotations[modes.counts > 1]
    turns = np.swapaxes(rotations[:, 0], 1, 2) @ rotations[:, 1]
    near = angular_distance(turns[:, None], turns[None]) < separation(modes.nside)
    return turns[near.sum(1).argmax()]


def over_epochs(run: RunFolder, known: Known, turn: np.ndarray) -> list[str]:
    """Return a line for each epoch of the run."""
    lines = [
        "| epoch | stage | several modes | entropy (nats) | pair | winner in best mode | "
        "truth in a head | truth or mate in best mode | truth in best mode | "
        "truth and mate among the modes |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    snapshot = read_snapshot(run)
    for epoch in recorded_epochs(run):
        volume, poses = read_epoch(run, epoch, snapshot.particles, snapshot.truth)
        posteriors = ParticlePosteriors(snapshot.particles)
        shifts = poses.shifts / snapshot.particles.pixel_size
        posteriors.set_volume(volume.volume, shifts, scales=poses.scales)
        found = summarise(posteriors, probe_rows(poses.used), shifts)
        one = figures_of(found, poses)
        shares = (
            one.winner_in_best_mode,
            one.candidates_hold_truth,
            *against_truth(found, poses, known.rotations, turn),
        )
        lines.append(
            f"| {epoch + 1} | {Inference(one.inference).label} | "
            f"{percent(one.multimodal)} | {one.entropy:.2f} | "
            f"{one.pair_angle:.0f}°, {percent(one.pair_share)} | "
            + " | ".join(percent(share) for share in shares)
            + " |"
        )
        print(lines[-1], flush=True)
    return lines


def against_truth(
    found: PosteriorSummary, poses: PosesUpdated, truth: np.ndarray, turn: np.ndarray
) -> tuple[float, float, float]:
    """Return the shares with truth or mate in the best mode, truth in it, and both in any."""
    alignment = align_rotations(found.modes.rotations[:, 0], truth[found.rows])
    refined = align_rotations(poses.rotations, truth)
    if (refined.errors < 20).mean() > (alignment.errors < 20).mean():
        alignment = refined
    modes = alignment.apply(np.nan_to_num(found.modes.rotations))
    tolerance = separation(found.modes.nside)
    true = truth[found.rows][:, None]
    near = angular_distance(modes, true) < tolerance
    mate = angular_distance(modes, true @ turn) < tolerance
    best = (near | mate)[:, 0].mean()
    return float(best), float(near[:, 0].mean()), float((near.any(1) & mate.any(1)).mean())


def by_low_pass(known: Known) -> list[str]:
    """Return a line for each low-pass of posteriors against the true map."""
    lines = [
        "| low-pass (Å) | several modes | entropy (nats) | pair | truth in best mode | "
        "in any mode |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    rows, still = np.arange(500), np.zeros((known.particles.n, 2))
    for radius in RADII:
        posteriors = ParticlePosteriors(known.particles, PosteriorOptions(radius=radius))
        posteriors.set_volume(known.volume)
        found = summarise(posteriors, rows, still)
        several, rotations = found.modes.counts > 1, found.modes.rotations
        tolerance = separation(found.modes.nside)
        angle, share = common_rotation(rotations[several, 0], rotations[several, 1], tolerance)
        held = coverage(rotations, known.rotations[rows], tolerance)
        low_pass = known.particles.box * known.particles.pixel_size / radius
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
