"""The kernels beside plain torch: nanoseconds per coefficient of an image.

``python benchmarks/kernels.py`` measures a pose step (error and gradient, and with the kernels the
normal matrix too), the insertion of images, and slices, at boxes 32, 64 and 128, all frequencies,
by automatic derivatives of torch's ``grid_sample`` and by the kernels, in turn. The processor time
of one thread is compared; beside it stands the time on the clock with two. Then it measures how
long the kernels take to compile, and to be read from where they were kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from machine import description, write_table

from napari_cryospin.engine.geometry.fourier import disk, shift_hartley
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import exponential_map, random_rotations
from napari_cryospin.engine.geometry.slices import central_slices, insert_slices
from napari_cryospin.engine.kernels import PosedImages, inserter, make_ready, slicer

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

BOXES = {32: 500, 64: 200, 128: 64}
REPEATS = 7
CPU = torch.device("cpu")
READY = (
    "import time, torch; t = time.time(); "
    "from napari_cryospin.engine.kernels import make_ready; "
    "u = time.time(); make_ready(torch.device('cpu')); print(time.time() - u)"
)


class Case:
    """Images, poses and a map of a box, all random."""

    def __init__(self, box: int, n: int) -> None:
        draw = torch.Generator().manual_seed(box)
        self.box, self.n = box, n
        self.frequencies = disk(box, box / 2)
        k = len(self.frequencies)
        self.grid = torch.randn(box + 1, box + 1, box + 1, generator=draw)
        self.observed = torch.randn(n, k, generator=draw)
        self.ctf = torch.randn(n, k // 2, generator=draw).repeat_interleave(2, 1)
        self.rotations = torch.from_numpy(random_rotations(n, np.random.default_rng(box))).float()
        self.shifts = torch.randn(n, 2, generator=draw)
        poses = Poses(self.rotations, self.shifts)
        self.images = PosedImages(self.observed, self.ctf, poses, self.frequencies)
        self.slicer = slicer(self.grid)
        self.inserter = inserter(box, CPU)

    def step_by_torch(self) -> Tensor:
        """Return the gradient of every pose, as autograd finds it."""
        step = torch.zeros(self.n, 5, requires_grad=True)
        turned = exponential_map(step[:, :3]) @ self.rotations
        slices = central_slices(self.grid, turned, self.frequencies)
        moved = shift_hartley(slices, self.frequencies, -(self.shifts + step[:, 3:]), self.box)
        (self.ctf * moved - self.observed).square().mean(1).sum().backward()
        assert step.grad is not None
        return step.grad

    def step_by_kernel(self) -> Tensor:
        """Return the same, with the normal matrices left aside."""
        found = self.slicer.fit(self.images)
        return found.gradient

    def insertion_by_torch(self) -> Tensor:
        """Return the grids of values and weights, by the transpose that autograd finds."""
        centred = shift_hartley(self.observed, self.frequencies, self.shifts, self.box)
        values = torch.stack((self.ctf * centred, self.ctf.square()))
        return insert_slices(values, self.rotations, self.frequencies, self.box)

    def insertion_by_kernel(self) -> None:
        """Add the images to grids that are there, as an epoch does."""
        self.inserter.add_images(self.images)

    def slices_by_torch(self) -> Tensor:
        """Return the slices."""
        with torch.no_grad():
            return central_slices(self.grid, self.rotations, self.frequencies)

    def slices_by_kernel(self) -> Tensor:
        """Return the slices."""
        return self.slicer.slices(self.rotations, self.frequencies)


def fastest(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the shortest of several times, seconds."""
    times = []
    for _ in range(REPEATS):
        begun = clock()
        work()
        times.append(clock() - begun)
    return min(times)


def rows_of(box: int, n: int) -> list[str]:
    """Return the lines of the table for a box."""
    case = Case(box, n)
    cost = 1e9 / (n * len(case.frequencies))
    off = (case.step_by_torch() - case.step_by_kernel()).abs() / case.step_by_torch().abs().mean()
    assert float(off.flatten().quantile(0.95)) < 1e-2, "they do not find the same"
    lines = []
    for name in ("step", "insertion", "slices"):
        torchs, ours = (getattr(case, f"{name}_by_{which}") for which in ("torch", "kernel"))
        torch.set_num_threads(1)
        one = [cost * fastest(work, time.process_time) for work in (torchs, ours)]
        torch.set_num_threads(2)
        two = [cost * fastest(work, time.perf_counter) for work in (torchs, ours)]
        lines.append(
            f"| {box} | {name} | {one[0]:.0f} | {one[1]:.1f} | {one[0] / one[1]:.1f} | "
            f"{two[0]:.0f} | {two[1]:.1f} |"
        )
    return lines


def compiling() -> list[float]:
    """Return the seconds that it takes to compile, and to read what was kept."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", READY]
        return [
            float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
            for _ in range(2)
        ]


def main() -> None:
    """Measure, and write the table."""
    machine = description()
    make_ready(CPU)
    lines = [
        "Nanoseconds per coefficient of an image, all frequencies in use: processor time of one "
        "thread, and time on the clock with two. `torch`: automatic derivatives through "
        "`grid_sample`, as before the kernels.",
        "",
        "| box | operation | torch | kernel | ratio | torch, two threads | kernel, two threads |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    for box, n in BOXES.items():
        lines += rows_of(box, n)
    first, again = compiling()
    lines += [
        "",
        f"Compiled for the first time in {first:.1f} s; read from where they were kept, with numba "
        f"itself, in {again:.1f} s.",
    ]
    write_table("kernels", "The kernels beside plain torch", lines, machine)


if __name__ == "__main__":
    main()
