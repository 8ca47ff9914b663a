"""What a run needs of memory, estimated before it begins, and measured.

``python benchmarks/memory_peaks.py FOLDER`` makes stacks and short runs in FOLDER, each in a
process of its own, whose peak is compared with the estimate that a run refuses by.
"""

from __future__ import annotations

import argparse
import os
import resource
from pathlib import Path

import torch
from machine import description, write_table

from napari_cryospin.engine import events
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.presets import PRESETS
from napari_cryospin.engine.run.memory_estimate import GIB, estimate_memory
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate

# preset, box, particles, shifts
CASES = [
    ("default", 32, 500, False),
    ("default", 32, 4000, False),
    ("default", 64, 500, False),
    ("default", 64, 500, True),
    ("default", 64, 4000, False),
    ("cryospin", 64, 500, False),
    ("paper-synthetic", 64, 200, False),
    ("paper-experimental", 64, 200, True),
    ("paper-synthetic", 128, 100, False),
]


def stack_of(folder: Path, box: int, n: int) -> Path:
    """Return particles of a box, simulated where they are not there yet."""
    stack = folder / f"stack-{box}-{n}"
    if not (stack / "particles.star").exists():
        volume = procedural_molecule(box=box, pixel_size=128 / box)
        simulate(volume, stack, n_particles=n, pixel_size=128 / box, snr=1.0, seed=7)
    return stack / "particles.star"


def settings_of(stack: Path, preset: str, box: int, shifts: bool) -> Settings:
    """Return a preset with one epoch a stage; the sizes of everything are the preset's own."""
    values = {**PRESETS[preset], "starts": 1}
    values["stages"] = [
        {**stage, "epochs": 1, "until": "epochs"} for stage in PRESETS[preset]["stages"]
    ]
    settings = Settings.model_validate({"preset": preset, **values})
    settings.data.stack, settings.data.box, settings.data.max_particles = stack, box, None
    settings.threads, settings.device, settings.model.shifts = 1, "cpu", shifts
    return settings


def measured(settings: Settings, run: Path) -> float:
    """Return the peak of a run in a child process, beyond what it had before, bytes."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        before = resident * os.sysconf("SC_PAGE_SIZE")
        *_, last = Reconstruction(settings, run).run()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        told = str(peak) if isinstance(last, events.Finished) else repr(last)
        os.write(writer, told.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        told = file.read().decode()
    os.waitpid(child, 0)
    return float(told)


def main() -> None:
    """Measure all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for stacks and runs")
    folder = parser.parse_args().folder.absolute()
    machine = description()
    lines = [
        "| preset | box | particles | shifts | measured GiB | estimated GiB | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, (preset, box, n, shifts) in enumerate(CASES):
        stack = stack_of(folder, box, n)
        settings = settings_of(stack, preset, box, shifts)
        table = read_table(stack)
        pixel_size = table.optics[0].pixel_size
        need = estimate_memory(settings, n, box, pixel_size, torch.device("cpu")).host
        peak = measured(settings, folder / f"run-{number}-{os.getpid()}")
        lines.append(
            f"| {preset} | {box} | {n} | {'yes' if shifts else 'no'} | {peak / GIB:.2f} | "
            f"{need / GIB:.2f} | {need / peak:.2f} |"
        )
        print(lines[-1], flush=True)
    write_table("memory_peaks", "Memory that runs need, on the CPU", lines, machine)


if __name__ == "__main__":
    main()
