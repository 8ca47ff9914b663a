"""Poses of particles that a run never saw, by ``infer``, beside those of the particles it learned.

``python benchmarks/inferring.py FOLDER [MOLECULE …]`` simulates 23,000 particles of each molecule,
makes a default run of the first 3,000 at box 32, prepares the others, and has their poses inferred
from the working file, on all cores, with and without refinement, for ``results/inferring.md``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import starfile
import torch
from cases import Case
from machine import description, write_table
from timed_run import begin, seconds_of

from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.evaluation.alignment import align_rotations
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.kernels import make_ready
from napari_cryospin.engine.run.inferring import Teachings, data_like, prepared, write_inferred
from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

LEARNED, UNSEEN, BOX = 3000, 20_000, 32
WRONG = 10.0
CPU = torch.device("cpu")


def parted(stack: Path) -> tuple[Path, Path]:
    """Write two tables of a stack, and return their folders: learned from, and never seen."""
    folders = []
    for name, part in (("learned", slice(LEARNED)), ("unseen", slice(LEARNED, None))):
        folder = stack / name
        folder.mkdir(exist_ok=True)
        for table in ("particles", "truth"):
            whole = starfile.read(stack / f"{table}.star")
            rows = whole["particles"].iloc[part].copy()
            numbers = [each.split("@")[0] for each in rows["rlnImageName"]]
            rows["rlnImageName"] = [f"{each}@{stack / 'particles.mrcs'}" for each in numbers]
            starfile.write({**whole, "particles": rows}, folder / f"{table}.star", overwrite=True)
        folders.append(folder)
    return folders[0], folders[1]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, whose processor time other programs do not change."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def network_rate(known: Teachings, particles: object) -> float:
    """Return how many images a second the network alone takes, with what it is given at hand."""
    rows, encoder = torch.arange(500), known.encoder
    look = encoder.look(particles.images(rows), particles.ctf(rows, encoder.frequencies))  # type: ignore[attr-defined]
    with torch.no_grad(), one_thread():
        encoder(look)
        started = time.process_time()
        for _ in range(20):
            encoder(look)
    return 20 * len(rows) / (time.process_time() - started)


def lines_of(case: Case, folder: Path) -> list[str]:
    """Make the run, infer, and return the lines of the table."""
    learned, unseen = parted(case.stack(folder / "stacks"))
    out = folder / f"inferring_{case.name}"
    shifts = "--shifts" if case.shift else "--no-shifts"
    seconds = seconds_of(begin(learned, out, "--box", BOX, shifts, "--starts", 1))
    made = RunFolder(out)
    own, truth = read_star(made.star_path), read_star(learned / "truth.star")
    others = read_star(unseen / "truth.star")
    assert own.rotations is not None and truth.rotations is not None
    assert others.rotations is not None
    frame = align_rotations(own.rotations, truth.rotations, None)
    name = case.molecule + (f", off-centre {case.shift:.0%}" if case.shift else "")
    lines = [_line(name, f"trained, {seconds:.0f} s", LEARNED, "", frame.errors)]
    known = Teachings.of(made, CPU)
    data = data_like(made.settings().data, unseen / "particles.star")
    data.particles_in = "disk"
    particles = prepared(known, data, CPU)
    for refine in (True, False):
        started = time.perf_counter()
        found = known.infer(particles, refine=refine)
        wall = time.perf_counter() - started
        with one_thread():
            began = time.process_time()
            known.infer(particles, refine=refine)
            cpu = time.process_time() - began
        star = folder / "inferred.star"
        write_inferred(star.with_stem(f"inferred_{refine}"), particles, found, scales=True)
        told = read_star(star.with_stem(f"inferred_{refine}"))
        star.with_stem(f"inferred_{refine}").unlink()
        assert told.rotations is not None
        errors = angular_distance(frame.apply(told.rotations), others.rotations)
        rate = f"{particles.n / wall:,.0f} ({particles.n / cpu:,.0f})"
        what = "inferred" if refine else "inferred, `--no-refine`"
        lines.append(_line(name, what, particles.n, rate, errors))
    rate = f"({network_rate(known, particles):,.0f})"
    lines.append(f"| {name} | the network alone | | {rate} | | | | |")
    shutil.rmtree(out)
    return lines


def _line(name: str, what: str, n: int, rate: str, errors: np.ndarray) -> str:
    return (
        f"| {name} | {what} | {n:,} | {rate} | {errors.mean():.3f} | {np.median(errors):.3f} | "
        f"{int((errors > WRONG).sum())} | {(errors < 30).mean():.4f} |"
    )


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("molecules", nargs="*", default=["30S"])
    parser.add_argument("--off-centre", type=float, default=0.0, metavar="SHARE")
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    make_ready(CPU)
    machine, lines = description(), []
    for molecule in arguments.molecules:
        case = Case(molecule, LEARNED + UNSEEN, shift=arguments.off_centre)
        lines += lines_of(case, arguments.folder)
    head = [
        f"A default run (box {BOX}, one start) of the first {LEARNED:,} particles of a stack, SNR "
        f"0.1; then the poses of the other {UNSEEN:,}, which it never saw, from a working file, "
        "with weights and everything else that is written. Rates are images a second on all cores, "
        "beside other work of the machine (its load is above), and in brackets in a second of "
        "processor time of one thread; of the network alone, the latter. Errors in degrees, in the "
        "frame of the run. The time of the run is processor time of one thread.",
        "",
        "| molecule | | particles | rate | mean | median | over 10° | within 30° |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    write_table("inferring", "Particles that a run never saw", head + lines, machine)


if __name__ == "__main__":
    main()
