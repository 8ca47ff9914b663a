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
    PosedImages,
    PoseFit,
    Slicer,
    require_readable,
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
        require_readable(Poses.centred(rotations), frequencies, len(self._pairs))
        kx, ky = _disk(frequencies)
        found = np.empty((len(rotations), len(frequencies)), np.float32)
        poses = _floats(rotations)
        _share(
            len(rotations),
            len(frequencies),
            lambda first, last, _: compiled.project(self._pairs, kx, ky, poses, first, last, found),
        )
        return torch.from_numpy(found)

    def fit(self, images: PosedImages, *, absolute: bool = False) -> PoseFit:
        """Return error, gradient and normal matrix of poses."""
        common = (self._pairs, *_arrays(images, len(self._pairs)))
        n, k = len(images.poses), len(images.frequencies)
        found = np.empty((n, 21), np.float32)
        _share(
            n,
            k,
            lambda first, last, _: compiled.fit(*common, absolute, first, last, found),
        )
        unit = 2 * math.pi / (len(self._pairs) - 1)
        scale = np.array((1, 1, 1, unit, unit), np.float32)
        normal = np.empty((n, 5, 5), np.float32)
        upper = found[:, 6:] * (scale[_UPPER[0]] * scale[_UPPER[1]])
        normal[:, _UPPER[0], _UPPER[1]] = normal[:, _UPPER[1], _UPPER[0]] = upper
        return PoseFit(
            torch.from_numpy(found[:, 0] / k),
            torch.from_numpy(found[:, 1:6] * (2 * scale / k)),
            torch.from_numpy(normal * np.float32(2 / k)),
        )

    def errors(self, images: PosedImages, *, absolute: bool = False) -> tuple[Tensor, Tensor]:
        """Return mean errors of poses, (p,), and the sum over all poses of squares, (K,)."""
        common = (self._pairs, *_arrays(images, len(self._pairs)))
        n, k = len(images.poses), len(images.frequencies)
        found = np.empty(n, np.float32)
        power = np.zeros((torch.get_num_threads(), k // 2), np.float32)
        _share(
            n,
            k,
            lambda first, last, thread: compiled.errors(
                *common, absolute, first, last, found, power[thread]
            ),
        )
        total = torch.from_numpy(power.sum(0) / 2).repeat_interleave(2)
        return torch.from_numpy(found / k), total


class CompiledInserter(Inserter):
    """Sums in Hartley grids of a box, one for each thread as far as memory allows."""

    def __init__(self, box: int) -> None:
        self._box = box
        each = 16 * (box + 1) ** 3
        self._most = max(1, _GRIDS // each)
        self._grids: list[NDArray[np.float32]] = []

    def add(self, values: Tensor, weights: Tensor, rotations: Tensor, frequencies: Tensor) -> None:
        """Add slices (p, K) and their weights, the same at k and −k, (p, K)."""
        poses = Poses.centred(rotations)
        self._insert(PosedImages(values, weights, poses, frequencies), formed=False)

    def add_images(self, images: PosedImages) -> None:
        """Add images, one for each pose, centred first: CTF · image, with CTF² as weights."""
        self._insert(images, formed=True)

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

    def _insert(self, images: PosedImages, *, formed: bool) -> None:
        kx, ky, *rest = _arrays(images, self._box + 1)
        _share(
            len(images.poses),
            len(images.frequencies),
            lambda first, last, thread: compiled.insert(
                self._grids[thread], kx, ky, *rest, formed, first, last
            ),
            self._most,
            self._make_room,
        )

    def _make_room(self, threads: int) -> None:
        side = self._box + 1
        while len(self._grids) < threads:
            self._grids.append(np.zeros((side, side, side, 4), np.float32))


def compile_all() -> None:
    """Compile everything, or read it from where it was kept: it takes seconds the first time."""
    try:
        _call_all()
    except Exception:  # what was kept is damaged, or there is no room for it
        compiled.forget_kept()
        _call_all()


def _call_all() -> None:
    grid = torch.zeros(9, 9, 9)
    frequencies = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    image, pose = torch.zeros(1, 2), torch.eye(3)[None]
    slicer, inserter = CompiledSlicer(grid), CompiledInserter(8)
    slicer.slices(pose, frequencies)
    images = PosedImages(image, image, Poses.centred(pose), frequencies)
    slicer.fit(images)
    slicer.errors(images)
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


def _arrays(images: PosedImages, side: int) -> tuple[Any, ...]:
    """Return kx, ky, images, CTFs, numbers, poses and phases, as the loops take them."""
    poses = images.poses
    require_readable(poses, images.frequencies, side)
    observed, ctf = _floats(images.observed), _floats(images.ctf)
    # other types, or an order of its own, would be compiled for anew
    numbers = torch.arange(len(poses)) if images.numbers is None else images.numbers.long()
    n, k = np.minimum(observed.shape, ctf.shape)
    # the loops would read what lies behind
    if k < len(images.frequencies) or bool(((numbers < 0) | (numbers >= int(n))).any()):
        raise ValueError("Poses of images, or frequencies, that there are none of.")
    shifts = poses.shifts.detach().double().contiguous()
    return (
        *_disk(images.frequencies),
        observed,
        ctf,
        numbers.contiguous().numpy(),
        _floats(poses.rotations),
        (2 * math.pi / (side - 1)) * shifts.numpy(),
    )
