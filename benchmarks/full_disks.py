"""Runs on disks that are too small: what is told, what is kept, and whether the run goes on.

``python benchmarks/full_disks.py FOLDER`` makes a small stack and a run that nobody disturbs in
FOLDER, then begins the same run on 20 file systems in memory (tmpfs) of sizes from too small for
``settings.toml`` to nearly enough. Each run must end with exit code 2 and one sentence. The file
system is then made larger, and the run must end with the undisturbed one's poses. Needs Linux, and
to be root, who alone may mount.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from cases import COMMAND
from machine import description, write_table

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import read_poses, recorded_epochs
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.stages import DirectStage, MarginalStage

DISKS = 20
# a file system in memory has whole pages, and takes one for each file and folder
_LEAST_KIB, _LARGE = 8, "64m"


def prepare(folder: Path) -> Path:
    """Make the stack, the settings and the undisturbed run; return its run folder."""
    whole = folder / "whole"
    if RunFolder(whole).verdict_path.exists():
        return whole
    volume = procedural_molecule(box=32, pixel_size=4.0)
    simulate(volume, folder / "stack", n_particles=60, pixel_size=4.0, snr=1.0, seed=7)
    settings = Settings(starts=1, threads=1, device="cpu")
    settings.data.stack = folder / "stack" / "particles.star"
    settings.data.box = 32
    settings.stages = [
        MarginalStage(epochs=2, nside=2, until="epochs"),
        DirectStage(epochs=2, pose_steps=1),
    ]
    (folder / "settings.toml").write_text(settings.to_toml())
    code, told = reconstruct(folder, whole)
    if code:
        raise SystemExit(f"The undisturbed run failed: {told}")
    return whole


def reconstruct(folder: Path, out: Path) -> tuple[int, list[str]]:
    """Give the command, resuming what can be; return its exit code and its words on errors."""
    begun = bool(RunFolder(out).checkpoints())
    words = ["--resume"] if begun else ["--settings", str(folder / "settings.toml")]
    stack = [] if begun else [str(folder / "stack" / "particles.star")]
    done = subprocess.run(
        [*COMMAND, "reconstruct", *stack, "--out", str(out), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    lines = done.stderr.splitlines()
    return done.returncode, [line for line in lines if not line.startswith("Note: ")]


def used_kib(folder: Path) -> int:
    """Return the room that a run folder takes in whole pages, KiB."""
    page = 4
    return sum(
        page if path.is_dir() else page * -(-path.stat().st_size // (1024 * page))
        for path in folder.rglob("*")
    )


def mount(place: Path, options: str) -> None:
    """Mount a file system in memory, or change one."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)


def is_one_sentence(told: list[str]) -> bool:
    """Return whether there is one error, in one line."""
    errors = [line for line in told if line.startswith("Error: ")]
    return len(errors) == 1 and not any("Traceback" in line for line in told)


def same_poses(run: Path, whole: Path) -> bool:
    """Return whether two runs recorded the same poses, bit by bit."""
    mine, other = RunFolder(run), RunFolder(whole)
    epochs = recorded_epochs(other)
    return recorded_epochs(mine) == epochs and all(
        np.array_equal(read_poses(mine, epoch).rotations, read_poses(other, epoch).rotations)
        for epoch in epochs
    )


def trial(folder: Path, whole: Path, kib: int) -> tuple[list[str], bool]:
    """Run on a disk of a size; return the row of the table, and whether all went well."""
    place = folder / f"disk-{kib}k"
    place.mkdir()
    mount(place, f"size={kib}k")
    try:
        run = place / "run"
        code, told = reconstruct(folder, run)
        kept = len(RunFolder(run).checkpoints())
        left = [path.name for path in run.rglob("*.writing*")]
        sentence = is_one_sentence(told) and "full" in " ".join(told) and not left
        mount(place, f"remount,size={_LARGE}")
        after, words = reconstruct(folder, run)
        same = after == 0 and same_poses(run, whole)
        if after:
            print("\n".join(words), file=sys.stderr)
    finally:
        subprocess.run(["umount", str(place)], check=True)
        place.rmdir()
    shown = next((line for line in told if line.startswith("Error: ")), "").replace(str(place), "…")
    row = [
        str(kib),
        str(code),
        shown.removeprefix("Error: "),
        str(kept),
        str(after),
        "yes" if same else "NO",
    ]
    return row, code == 2 and sentence and same


def main() -> None:
    """Run all disks and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the stack, the runs and the disks")
    parser.add_argument("--disks", type=int, default=DISKS, help="number of disks")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("Skipped: only root may mount a file system in memory.")
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    machine = description()
    whole = prepare(folder)
    most = used_kib(whole) - 4
    # dense where there is little, since that is where most files are
    sizes = np.unique(np.geomspace(_LEAST_KIB, most, arguments.disks).astype(int) // 4 * 4)
    more = iter(range(most // 2 // 4 * 4, most, 4))
    while len(sizes) < arguments.disks:
        sizes = np.union1d(sizes, [next(more)])
    lines = ["| KiB | exit | sentence | checkpoints | exit after | same poses |", "|" + "---|" * 6]
    good = 0
    for kib in sizes.tolist():
        row, well = trial(folder, whole, kib)
        good += well
        lines.append("| " + " | ".join(row) + " |")
        print(lines[-1], flush=True)
    lines += ["", f"{good} of {len(sizes)} ended with a sentence, and went on to the same poses."]
    write_table("full_disks", f"{len(sizes)} disks that are too small", lines, machine)


if __name__ == "__main__":
    main()
