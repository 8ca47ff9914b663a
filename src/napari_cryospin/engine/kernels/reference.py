"""The kernels in plain torch: for every device and precision, and what the others are held to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.fourier import shift_hartley
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.slices import central_slices, insert_slices
from napari_cryospin.engine.kernels.interface import (
    Inserter,
    PosedImages,
    PoseFit,
    Slicer,
    require_readable,
    total_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

# points whose derivatives are held at once
_POINTS = 400_000


class TorchSlicer(Slicer):
    """Slices of a Hartley grid (D+1)³."""

    def __init__(self, grid: Tensor) -> None:
        self._grid = grid.detach()
        self._side = grid.shape[-1]
        self._pairs = torch.stack((self._grid, self._grid.flip(0, 1, 2)), -1).reshape(-1, 2)

    @torch.no_grad()
    def slices(self, rotations: Tensor, frequencies: Tensor) -> Tensor:
        """Return slices of the map, (p, K)."""
        require_readable(Poses.centred(rotations), frequencies, self._side)
        if not len(rotations):
            return rotations.new_zeros(0, len(frequencies))
        rows = max(1, 4 * _POINTS // len(frequencies))
        parts = rotations.split(rows)
        return torch.cat([central_slices(self._grid, part, frequencies) for part in parts])

    @torch.no_grad()
    def fit(self, images: PosedImages, *, absolute: bool = False) -> PoseFit:
        """Return error, gradient and normal matrix of poses."""
        poses, frequencies = images.poses, images.frequencies
        require_readable(poses, frequencies, self._side)
        k = len(frequencies)
        found = []
        for part in _parts(len(poses), k, poses.rotations.device):
            own = part if images.numbers is None else images.numbers[part]
            residual, jacobian = self._linearised(
                images.observed[own, :k], images.ctf[own, :k], poses[part], frequencies[::2]
            )
            flat = jacobian.flatten(1, 2)
            if absolute:
                error, pull = residual.abs().sum((1, 2)), residual.sign()
            else:
                error, pull = residual.square().sum((1, 2)), 2 * residual
            gradient = torch.einsum("pk,pka->pa", pull.flatten(1), flat)
            found.append((error / k, gradient / k, 2 * flat.transpose(1, 2) @ flat / k))
        return PoseFit(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _linearised(
        self,
        observed: Tensor,
        ctf: Tensor,
        poses: Poses,
        frequencies: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return residuals (p, H, 2) and their derivatives (p, H, 2, 5)."""
        box = self._side - 1
        rotations = poses.rotations
        value, slope = self._read(frequencies @ rotations[:, :2] + box // 2)
        ctf = ctf[:, ::2, None]
        value, slope = ctf * value, ctf[..., None] * slope
        # by the axes of the image: (p, H, 2, 3)
        along_x, along_y, across = (slope @ rotations.transpose(1, 2)[:, None]).unbind(-1)
        x, y = frequencies[:, None].unbind(-1)
        by_turn = torch.stack((-y * across, x * across, y * along_x - x * along_y), -1)
        unit = 2 * math.pi / box
        quarter = torch.stack((-value[..., 1], value[..., 0]), -1)
        by_shift = torch.stack((unit * x * quarter, unit * y * quarter), -1)
        jacobian = torch.cat((by_turn, by_shift), -1)
        phase = unit * (poses.shifts @ frequencies.T)[..., None]
        cosine, sine = phase.cos(), phase.sin()
        value = _turned(value, cosine, sine)
        jacobian = _turned(jacobian.movedim(-1, 0), cosine, sine).movedim(0, -1)
        return value - observed.unflatten(-1, (-1, 2)), jacobian

    def _read(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return both values at points (p, H, 3), (p, H, 2), and their slopes by x, y, z."""
        side = self._side
        cell = points.floor().long().clamp(0, side - 2)
        x, y, z = (points - cell).unbind(-1)
        first = (cell[..., 2] * side + cell[..., 1]) * side + cell[..., 0]
        value = points.new_zeros(*points.shape[:-1], 2)
        slope = points.new_zeros(*points.shape[:-1], 2, 3)
        for k, j, i in ((k, j, i) for k in (0, 1) for j in (0, 1) for i in (0, 1)):
            corner = self._pairs[first + (k * side + j) * side + i]
            a, b, c = (one if at else 1 - one for at, one in ((i, x), (j, y), (k, z)))
            value += (a * b * c)[..., None] * corner
            signs = (2 * i - 1, 2 * j - 1, 2 * k - 1)
            shares = torch.stack((signs[0] * b * c, signs[1] * a * c, signs[2] * a * b), -1)
            slope += corner[..., None] * shares[..., None, :]
        return value, slope

    @torch.no_grad()
    def errors(self, images: PosedImages, *, absolute: bool = False) -> tuple[Tensor, Tensor]:
        """Return mean errors of poses, (p,), and the sum over all poses of squares, (K,)."""
        poses, frequencies = images.poses, images.frequencies
        k, box = len(frequencies), self._side - 1
        found = []
        power = images.observed.new_zeros(k)
        for part in _parts(len(poses), k // 4, poses.rotations.device):
            own = part if images.numbers is None else images.numbers[part]
            predicted = self.slices(poses.rotations[part], frequencies)
            predicted = shift_hartley(predicted, frequencies, -poses.shifts[part], box)
            residual = images.ctf[own, :k] * predicted - images.observed[own, :k]
            squares = residual.square()
            # of a pair only the sum is told
            power += squares.sum(0).unflatten(0, (-1, 2)).mean(1).repeat_interleave(2)
            found.append((residual.abs() if absolute else squares).mean(1))
        return torch.cat(found), power


class TorchInserter(Inserter):
    """Sums in Hartley grids of a box."""

    def __init__(self, box: int, device: torch.device) -> None:
        self._box = box
        self._sums = torch.zeros(2, *(box + 1,) * 3, device=device)

    @torch.no_grad()
    def add(self, values: Tensor, weights: Tensor, rotations: Tensor, frequencies: Tensor) -> None:
        """Add slices (p, K) and their weights, the same at k and −k, (p, K)."""
        require_readable(Poses.centred(rotations), frequencies, self._box + 1)
        both = torch.stack((values, weights))
        self._sums += insert_slices(both, rotations, frequencies, self._box)

    @torch.no_grad()
    def add_images(self, images: PosedImages) -> None:
        """Add images, one for each pose, centred first: CTF · image, with CTF² as weights."""
        poses, frequencies, ctf = images.poses, images.frequencies, images.ctf
        require_readable(poses, frequencies, self._box + 1)
        centred = shift_hartley(images.observed, frequencies, poses.shifts, self._box)
        self.add(ctf * centred, ctf.square(), poses.rotations, frequencies)

    def total(self) -> Tensor:
        """Return the sums of values and of weights so far, (2, D+1, D+1, D+1)."""
        return self._sums

    def state(self) -> Tensor:
        """Return the sums as they are kept, from which adding goes on to the last bit."""
        return self._sums

    def load_state(self, state: Tensor) -> None:
        """Restore :meth:`state`, which may be that of another set of kernels."""
        self._sums = total_of(state).to(self._sums)


def _turned(pairs: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return pairs (..., p, H, 2) turned by phases (p, H, 1)."""
    a, b = pairs[..., :1], pairs[..., 1:]
    return torch.cat((cosine * a - sine * b, cosine * b + sine * a), -1)


def _parts(n: int, k: int, device: torch.device) -> Iterator[Tensor]:
    yield from torch.arange(n, device=device).split(max(1, _POINTS // max(k, 1)))
