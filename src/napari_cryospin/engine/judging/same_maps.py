"""Whether two maps show the same structure, however they are turned, and in either hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.evaluation.alignment import (
    PoseAlignment,
    apply_alignment,
    refine_map_alignment,
)
from napari_cryospin.engine.evaluation.fsc import fsc
from napari_cryospin.engine.geometry.hand import MIRROR
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.geometry.slices import values_at
from napari_cryospin.engine.sums.quadrature import cell_rotations

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# frequency radius, in units of 1/box, at which turns are tried; level of these; turns that are
# refined, and the least angle between two of them, degrees
_RADIUS, _NSIDE, _REFINED, _APART = 5, 4, 3, 25.0
# likeness from which on two maps show one structure
SAME = 0.85
# shells whose mean FSC is the likeness
_SHELLS = slice(1, 9)


def likeness(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the mean FSC of two maps (D, D, D) at low frequencies, at their best turn and hand."""
    best = 0.0
    for start in _best_turns(first, second):
        refined, shift = refine_map_alignment(first, second, start)
        curve = fsc(apply_alignment(first, refined, shift), second)
        best = max(best, float(curve[_SHELLS].mean()))
        if best > SAME:
            break
    return best


def _best_turns(first: NDArray[np.float32], second: NDArray[np.float32]) -> list[PoseAlignment]:
    """Return the turns, in either hand, that bring the first map nearest to the second."""
    turns = cell_rotations(_NSIDE).double()
    frequencies = _frequencies()
    goal = _transform(second)
    wanted = _read(goal, frequencies)
    own, found = _transform(first), []
    for mirrored in (False, True):
        # the point r of the second map's frame is G r of the first one's
        matrices = torch.from_numpy(MIRROR) @ turns if mirrored else turns
        for part in matrices.split(500):
            there = _read(own, (frequencies @ part.mT).flatten(0, 1))
            product = there.unflatten(1, (len(part), -1)) * wanted[:, None]
            power = there.unflatten(1, (len(part), -1)).square().sum((0, 2))
            found.append(product.sum((0, 2)) / power.sqrt().clamp(min=1e-12))
    scores = torch.cat(found)
    chosen: list[PoseAlignment] = []
    for place in scores.argsort(descending=True).tolist():
        mirrored, number = divmod(place, len(turns))
        turn = turns[number].numpy()
        near = [
            each.mirrored == bool(mirrored) and angular_distance(each.rotation, turn) < _APART
            for each in chosen
        ]
        if not any(near):
            chosen.append(PoseAlignment(turn, bool(mirrored), np.zeros(1)))
        if len(chosen) == _REFINED:
            break
    return chosen


def _frequencies() -> Tensor:
    """Return the frequencies (x, y, z) that turns are judged by: one of each pair k, −k, (m, 3)."""
    line = torch.arange(-_RADIUS, _RADIUS + 1)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    points = torch.stack((x, y, z), -1).flatten(0, 2)
    half = points[len(points) // 2 + 1 :]
    return half[half.square().sum(1) <= _RADIUS**2].double()


def _transform(volume: NDArray[np.float32]) -> Tensor:
    """Return the lowest frequencies of a map: real and imaginary parts, (2, N, N, N)."""
    box = len(volume)
    shifted = np.fft.ifftshift(np.asarray(volume, np.float64))
    whole = np.fft.fftshift(np.fft.fftn(shifted))
    # one more on each side, for the points between
    near = slice(box // 2 - _RADIUS - 1, box // 2 + _RADIUS + 2)
    lowest = whole[near, near, near]
    return torch.from_numpy(np.stack((lowest.real, lowest.imag)))


def _read(transform: Tensor, frequencies: Tensor) -> Tensor:
    """Return a transform at frequencies (m, 3), (2, m)."""
    return values_at(transform, frequencies / (_RADIUS + 1))
