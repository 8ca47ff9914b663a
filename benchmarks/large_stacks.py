"""A stack that is larger than memory: prepared, trained on from disk, and opened again.

``python benchmarks/large_stacks.py FOLDER`` makes particles of 256 px in several float16 stacks in
FOLDER, and measures, each in a process of its own, whose peak it prints: preparing them on disk at
a working box of 64 px; opening them again, where reading a raw image is an error; one epoch of each
inference from the working file; and the same for some of them from both homes of the images.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from machine import description, write_table

from napari_cryospin.engine.data import working_files
from napari_cryospin.engine.data.image_store import InMemory
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.stack import StackReader
from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.run.epoch import train_epoch
from napari_cryospin.engine.run.fingerprint import fingerprint_of
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.stages import AmortizedStage, DirectStage, MarginalStage

if TYPE_CHECKING:
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.stages import Stage

GIB = 2.0**30
BOX, WORKING, PIXEL_SIZE, SNR = 256, 64, 1.0, 0.1
# views that are simulated: every image is one of them with noise of its own
VIEWS, IN_A_STACK, AT_ONCE = 300, 10_000, 500
STAGES: dict[str, Stage] = {
    "auto-encoding": AmortizedStage(epochs=1),
    "marginalisation": MarginalStage(epochs=1, until="epochs"),
    "auto-decoding": DirectStage(epochs=1),
}
# particles of which epochs from both homes are compared, and the batches that are only read
COMPARED, BATCHES = 5000, (64, 500)


@dataclass(frozen=True)
class Part:
    """What is measured in a process of its own."""

    name: str
    home: str = "disk"
    n: int | None = None


def make_stacks(folder: Path, n: int) -> Path:
    """Write ``n`` particles in stacks of 16-bit floating-point numbers, and their table."""
    star = folder / f"particles_{n}.star"
    if star.exists():
        return star
    few, finer = folder / "views", BOX // WORKING
    if not (few / "particles.star").exists():
        volume = procedural_molecule(box=WORKING, pixel_size=finer * PIXEL_SIZE)
        # next to no noise
        simulate(volume, few, n_particles=VIEWS, pixel_size=finer * PIXEL_SIZE, snr=1e6, seed=7)
    table = read_table(few / "particles.star")
    clean = StackReader(table).read(np.arange(VIEWS))
    clean = clean.repeat(finer, axis=1).repeat(finer, axis=2) * (SNR**0.5 / clean.std())
    random = np.random.default_rng(0)
    stacks, header = [], few.joinpath("particles.mrcs").read_bytes()[:1024]
    for first in range(0, n, IN_A_STACK):
        stacks.append(folder / f"stack_{n}_{len(stacks):03d}.mrcs")
        last = min(first + IN_A_STACK, n)
        with stacks[-1].open("wb") as file:
            file.write(_header(header, last - first))
            for start in range(first, last, AT_ONCE):
                views = np.arange(start, min(start + AT_ONCE, last)) % VIEWS
                noise = random.standard_normal((len(views), BOX, BOX), dtype=np.float32)
                file.write((clean[views] + noise).astype("<f2").tobytes())
    write_star(star, _repeated(table, tuple(stacks), n), np.arange(n), rotations=None, shifts=None)
    return star


def _header(of_float32: bytes, n: int) -> bytes:
    """Return the header of a stack of 16-bit floating-point numbers from another stack's."""
    words = np.frombuffer(of_float32, "<i4").copy()
    # sizes and mode, and the sizes once more
    words[:4], words[7:10] = (BOX, BOX, n, 12), (BOX, BOX, n)
    return words.tobytes()


def _repeated(table: ParticleTable, stacks: tuple[Path, ...], n: int) -> ParticleTable:
    views, defocus = np.arange(n) % VIEWS, table.defocus
    assert defocus is not None
    return replace(
        table,
        optics=tuple(replace(one, box=BOX, pixel_size=PIXEL_SIZE) for one in table.optics),
        stacks=stacks,
        stack_index=np.arange(n) // IN_A_STACK,
        image_index=np.arange(n) % IN_A_STACK,
        optics_index=table.optics_index[views],
        defocus=type(defocus)(**{name: value[views] for name, value in vars(defocus).items()}),
        original=None,
    )


def measure(part: Part, star: Path) -> dict[str, float]:
    """Return the figures of a part, measured in this process."""
    settings = Settings(threads=None, starts=1, device="cpu")
    settings.data.stack, settings.data.box = star, WORKING
    settings.data.max_particles = part.n
    table, began = read_table(star), time.perf_counter()
    if part.name == "preparing":
        particles = working_files.make(table, settings.data)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "per_second": particles.n / seconds}
    StackReader.read = _not_read  # type: ignore[method-assign]
    particles = working_files.find(table, settings.data)
    assert particles is not None, "there is no working file"
    if part.home == "memory":
        # the same images, in a process with the same past
        rows = torch.arange(particles.n)
        images = torch.cat([particles.images(some) for some in rows.split(AT_ONCE)])
        particles = replace(particles, store=InMemory(images))
    if part.name == "opening again":
        seconds = time.perf_counter() - began
        # what a run does besides: every image is compared with what was written
        working_files.find(table, settings.data, lambda *_: None)
        fingerprint_of(particles, settings)
        return {"seconds": seconds, "checked": time.perf_counter() - began}
    if part.name.startswith("reading"):
        return _read_epoch(particles, int(part.name.split()[-1]))
    settings.stages = [STAGES[part.name].model_copy()]
    training = Training(particles, settings)
    began, worked = time.perf_counter(), time.process_time()
    train_epoch(training)
    return _since(began, worked)


def _since(began: float, worked: float) -> dict[str, float]:
    """Return the seconds that have passed, and those that the processor has worked for us."""
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - worked}


def _read_epoch(particles: Particles, size: int) -> dict[str, float]:
    """Return the seconds of reading all particles once, shuffled, with coefficients and CTFs."""
    model = ImageModel.within(WORKING, WORKING / 2)
    order = torch.randperm(particles.n, generator=torch.Generator().manual_seed(0))
    began, worked = time.perf_counter(), time.process_time()
    for rows in order.split(size):
        particles.observed(rows, model)
    return _since(began, worked)


def peak() -> float:
    """Return the highest resident memory of this process so far, bytes."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    )
    return 1024.0 * int(line.split()[1])


def _not_read(*_: object) -> np.ndarray:
    raise AssertionError("a raw image was read")


def in_a_process(part: Part, star: Path) -> dict[str, float]:
    """Return the figures of a part, with its peak of resident memory in bytes."""
    words = [sys.executable, __file__, str(star), "--part", json.dumps(vars(part))]
    told = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout
    figures: dict[str, float] = json.loads(told.splitlines()[-1])
    print(part, figures, flush=True)
    return figures


def compared(name: str, star: Path, n: int) -> str:
    """Return a line on something that is done from both homes."""
    disk, memory = (in_a_process(Part(name, home, n), star) for home in ("disk", "memory"))
    times, work = (disk[kind] / memory[kind] for kind in ("seconds", "cpu"))
    return (
        f"| {name} | {n:,} | {disk['seconds']:.2f} | {memory['seconds']:.2f} | {times:.2f} | "
        f"{work:.2f} | {disk['peak'] / GIB:.2f} | {memory['peak'] / GIB:.2f} |"
    )


def table_of(folder: Path, n: int) -> list[str]:
    """Measure everything, and return the table's lines."""
    star = make_stacks(folder, n)
    few = min(n, COMPARED)
    lines = ["| | seconds | images per second | peak GiB |", "|---|---|---|---|"]

    def add(name: str, seconds: float, peak: float) -> None:
        lines.append(f"| {name} | {seconds:.1f} | {n / seconds:,.0f} | {peak / GIB:.2f} |")

    found = in_a_process(Part("preparing"), star)
    add("preparing on disk", found["seconds"], found["peak"])
    found = in_a_process(Part("opening again"), star)
    add("opening again", found["seconds"], found["peak"])
    add("opening again, every image compared", found["checked"], found["peak"])
    for name in STAGES:
        found = in_a_process(Part(name), star)
        add(f"one epoch of {name}, from disk", found["seconds"], found["peak"])
    if few < n:
        in_a_process(Part("preparing", n=few), star)
    lines += [
        "",
        "| from both homes | particles | disk, s | memory, s | ratio | CPU ratio | disk, GiB "
        "| memory, GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [compared(f"reading batches of {size}", star, few) for size in BATCHES]
    lines += [compared(name, star, few) for name in STAGES]
    return lines


def main() -> None:
    """Measure everything, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for stacks and working files")
    parser.add_argument("--particles", type=int, default=100_000)
    parser.add_argument("--no-table", action="store_true", help="write no file of results")
    parser.add_argument("--keep", action="store_true", help="keep stacks and working files")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        figures = measure(Part(**json.loads(options.part)), options.folder)
        figures["peak"] = peak()
        print(json.dumps(figures))
        return
    folder, n = options.folder.absolute(), options.particles
    folder.mkdir(parents=True, exist_ok=True)
    room = 1.1 * n * (2 * BOX**2 + 2 * WORKING**2)
    if shutil.disk_usage(folder).free < room:
        sys.exit(f"{folder} needs {room / GIB:.0f} GiB of room.")
    os.environ[working_files.VARIABLE] = str(folder / "cache")
    machine = description()
    try:
        lines = table_of(folder, n)
    finally:
        if not options.keep:
            shutil.rmtree(folder / "cache", ignore_errors=True)
            for path in folder.glob(f"stack_{n}_*.mrcs"):
                path.unlink()
            (folder / f"particles_{n}.star").unlink(missing_ok=True)
    title = f"{n:,} particles of {BOX} px, at a working box of {WORKING} px"
    print("\n".join(lines))
    if not options.no_table:
        write_table("large_stacks", title, lines, machine)


if __name__ == "__main__":
    main()
