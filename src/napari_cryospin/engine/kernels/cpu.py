"""The compiled kernels over the threads of the processor."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.kernels import compiled
from napari_cryospin.engine.kernels.interface import (
    Inserter,
    PoseFit,
    Slicer,
    require_inside,
    require_sound,
    total_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

# a thread of its own is worth it from so many coefficients on
_LEAST_SHARE = 20_000
# bytes of the grids that threads insert into, each its own
_GRIDS = 256 * 2**20
_UPPER = np.triu_indices(5)


class CompiledSlicer(Slicer):
    """Slices of a Hartley grid (D+1)³."""

    def __init__(self, grid: Tensor) -> None:
        grid = grid.detach().float()
        # numpy asks for large pages, torch does not
        self._pairs = np.empty((*grid.shape, 2), np.float32)
        self._pairs[..., 0], self._pairs[..., 1] = grid.numpy(), grid.flip(0, 1, 2).numpy()

    def slices(self, rotations: Tensor, frequencies: Tensor) -> Tensor:
        """Return slices of the map, (p, K)."""
        require_sound(Poses.centred(rotations))
        kx, ky = self._disk(frequencies)
        found = np.empty((len(rotations), len(frequencies)), np.float32)
        poses = _floats(rotations)
        _share(
            len(rotations),
            len(frequencies),
            lambda first, last, _: compiled.project(self._pairs, kx, ky, poses, first, last, found),
        )
        return torch.from_numpy(found)

    def fit(
        self,
        observed: Tensor,
        ctf: Tensor,
        poses: Poses,
        frequencies: Tensor,
        *,
        numbers: Tensor | None = None,
        absolute: bool = False,
    ) -> PoseFit:
        """Return error, gradient and normal matrix of poses."""
        common = self._common(observed, ctf, poses, frequencies, numbers)
        found = np.empty((len(poses), 21), np.float32)
        _share(
            len(poses),
            len(frequencies),
            lambda first, last, _: compiled.fit(*common, absolute, first, last, found),
        )
        unit = 2 * math.pi / self._box
        scale = np.array((1, 1, 1, unit, unit), np.float32)
        normal = np.empty((len(poses), 5, 5), np.float32)
        upper = found[:, 6:] * (scale[_UPPER[0]] * scale[_UPPER[1]])
        normal[:, _UPPER[0], _UPPER[1]] = normal[:, _UPPER[1], _UPPER[0]] = upper
        k = len(frequencies)
        return PoseFit(
            torch.from_numpy(found[:, 0] / k),
            torch.from_numpy(found[:, 1:6] * (2 * scale / k)),
            torch.from_numpy(normal * np.float32(2 / k)),
        )

    def errors(
        self,
        observed: Tensor,
        ctf: Tensor,
        poses: Poses,
        frequencies: Tensor,
        *,
        numbers: Tensor | None = None,
        absolute: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return mean errors of poses, (p,), and the sum over all poses of squares, (K,)."""
        common = self._common(observed, ctf, poses, frequencies, numbers)
        k = len(frequencies)
        found = np.empty(len(poses), np.float32)
        power = np.zeros((torch.get_num_threads(), k // 2), np.float32)
        _share(
            len(poses),
            k,
            lambda first, last, thread: compiled.errors(
                *common, absolute, first, last, found, power[thread]
            ),
        )
        total = torch.from_numpy(power.sum(0) / 2).repeat_interleave(2)
        return torch.from_numpy(found / k), total

    @property
    def _box(self) -> int:
        return len(self._pairs) - 1

    def _disk(self, frequencies: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        require_inside(frequencies, len(self._pairs))
        return _disk(frequencies)

    def _common(
        self,
        observed: Tensor,
        ctf: Tensor,
        poses: Poses,
        frequencies: Tensor,
        numbers: Tensor | None,
    ) -> tuple[Any, ...]:
        require_sound(poses)
        return (
            self._pairs,
            *self._disk(frequencies),
            _floats(observed),
            _floats(ctf),
            _numbers(numbers, len(poses)),
            _floats(poses.rotations),
            _phases(poses, self._box),
        )


class CompiledInserter(Inserter):
    """Sums in Hartley grids of a box, one for each thread as far as memory allows."""

    def __init__(self, box: int) -> None:
        self._box = box
        each = 16 * (box + 1) ** 3
        self._most = max(1, _GRIDS // each)
        self._grids: list[NDArray[np.float32]] = []

    def add(self, values: Tensor, weights: Tensor, rotations: Tensor, frequencies: Tensor) -> None:
        """Add slices (p, K) and their weights, the same at k and −k, (p, K)."""
        self._insert(values, weights, Poses.centred(rotations), frequencies, formed=False)

    def add_images(
        self,
        observed: Tensor,
        ctf: Tensor,
        poses: Poses,
        frequencies: Tensor,
    ) -> None:
        """Add images (p, K) that are centred first: CTF · image, with CTF² as weights."""
        self._insert(observed, ctf, poses, frequencies, formed=True)

    def total(self) -> Tensor:
        """Return the sums of values and of weights so far, (2, D+1, D+1, D+1)."""
        return total_of(self.state())

    def state(self) -> Tensor:
        """Return the sums as they are kept, from which adding goes on to the last bit."""
        self._make_room(1)
        return torch.from_numpy(np.stack(self._grids))

    def load_state(self, state: Tensor) -> None:
        """Restore :meth:`state`, which may be that of another set of kernels."""
        if state.dim() == 4:
            # a weight stands for both of a pair, and is added to its other half in the end
            value, weight = state
            state = torch.stack((value, 0 * value, weight / 2, 0 * value), -1)[None]
        self._grids = [np.array(grid, np.float32) for grid in state.cpu().numpy()]

    def _insert(
        self,
        values: Tensor,
        weights: Tensor,
        poses: Poses,
        frequencies: Tensor,
        *,
        formed: bool,
    ) -> None:
        require_sound(poses)
        require_inside(frequencies, self._box + 1)
        kx, ky = _disk(frequencies)
        common = (
            _floats(values),
            _floats(weights),
            _numbers(None, len(poses)),
            _floats(poses.rotations),
            _phases(poses, self._box),
        )
        _share(
            len(poses),
            len(frequencies),
            lambda first, last, thread: compiled.insert(
                self._grid(thread), kx, ky, *common, formed, first, last
            ),
            self._most,
            self._make_room,
        )

    def _make_room(self, threads: int) -> None:
        side = self._box + 1
        while len(self._grids) < threads:
            self._grids.append(np.zeros((side, side, side, 4), np.float32))

    def _grid(self, thread: int) -> NDArray[np.float32]:
        return self._grids[thread]


def compile_all() -> None:
    """Compile everything, or read it from where it was kept: it takes seconds the first time."""
    grid = torch.zeros(9, 9, 9)
    frequencies = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    image, pose = torch.zeros(1, 2), torch.eye(3)[None]
    slicer, inserter = CompiledSlicer(grid), CompiledInserter(8)
    slicer.slices(pose, frequencies)
    slicer.fit(image, image, Poses.centred(pose), frequencies)
    slicer.errors(image, image, Poses.centred(pose), frequencies)
    inserter.add(image, image, pose, frequencies)


def _share(
    n: int,
    k: int,
    work: Callable[[int, int, int], object],
    most: int = 2**30,
    prepare: Callable[[int], None] | None = None,
) -> None:
    """Do ``work(first, last, thread)`` for n poses of k coefficients, over threads.

    A loop over threads within a kernel would not do: two threads of Python that enter it at a time
    end the process with one of numba's schedulers, and a fork does with the other.
    """
    threads = max(1, min(torch.get_num_threads(), most, n, n * k // _LEAST_SHARE))
    if prepare is not None:
        prepare(threads)
    if n == 0:
        return
    ends = [n * number // threads for number in range(threads + 1)]
    if threads == 1:
        work(0, n, 0)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, ends, ends[1:], range(threads)))


def _disk(frequencies: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kx and ky of the first of every pair, (H,)."""
    first = frequencies[::2].float()
    return first[:, 0].contiguous().numpy(), first[:, 1].contiguous().numpy()


def _floats(values: Tensor) -> NDArray[np.float32]:
    result: NDArray[np.float32] = values.detach().float().contiguous().numpy()
    return result


def _numbers(numbers: Tensor | None, n: int) -> NDArray[np.int64]:
    return np.arange(n) if numbers is None else numbers.contiguous().numpy()


def _phases(poses: Poses, box: int) -> NDArray[np.float64]:
    result: NDArray[np.float64] = (2 * math.pi / box) * poses.shifts.detach().double().numpy()
    return result
