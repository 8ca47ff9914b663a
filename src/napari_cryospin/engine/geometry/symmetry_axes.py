"""Where the axes of a symmetric map lie: the frame in which it has a point group's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import scipy.optimize
import torch
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.geometry.cells import n_cells, rotations_of_cells
from napari_cryospin.engine.geometry.slices import values_at

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# shells that are compared at first, and in the end: the lowest are round whatever the map
_COARSE, _FINE = (2, 5), (2, 8)
# level of the frames that are tried, and how many of them are refined
_NSIDE, _REFINED = 4, 12
# the transform is read between its points: of a map in a box that is so many times as wide
_PADDED = 2
_TINY = 1e-9


@dataclass(frozen=True)
class SymmetryFrame:
    """The frame in which a map is most alike after the turns of a point group.

    Parameters
    ----------
    rotation
        Poses R become R U in it, (3, 3).
    middle
        Where the axes meet, from the middle of the box, (x, y, z), voxels, (3,).
    correlation
        Least correlation of the map with itself after a turn of the group, from shell to shell.
    """

    rotation: NDArray[np.float64]
    middle: NDArray[np.float64]
    correlation: float

    def turned(self, volume: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return a map (D, D, D) in the frame, its axes in the middle of the box."""
        # reversing both axes of a matrix for (x, y, z) says the same for (z, y, x)
        matrix, centre = self.rotation[::-1, ::-1], np.array(volume.shape) // 2
        offset = centre + self.middle[::-1] - matrix @ centre
        found = scipy.ndimage.affine_transform(volume, matrix, offset=offset, order=3)
        result: NDArray[np.float32] = np.asarray(found, dtype=np.float32)
        return result


def symmetry_frame(volume: NDArray[np.floating], group: NDArray[np.float64]) -> SymmetryFrame:
    """Return the frame in which a map has a point group's axes best.

    All frames on a grid of poses are compared by two turns that make up the group, at low
    frequency; the best are refined, together with where the axes meet.

    Parameters
    ----------
    volume
        Map, (D, D, D), axes (z, y, x).
    group
        Turns of the group, (g, 3, 3).
    """
    makers = _makers(group)
    middle = _centre_of_mass(volume)
    coarse, fine = (_Shells(volume, shells) for shells in (_COARSE, _FINE))
    frames = rotations_of_cells(np.arange(n_cells(_NSIDE)), _NSIDE)
    likeness = np.array([coarse.likeness(frame, middle, makers) for frame in frames])
    found = []
    for place in _apart(frames, likeness, group):
        found.append(_refined(fine, frames[place], middle, makers))
    rotation, middle, _ = max(found, key=lambda each: each[2])
    turns = [turn for turn in group if np.abs(turn - np.eye(3)).max() > _TINY]
    least = min((fine.likeness(rotation, middle, turn[None]) for turn in turns), default=1.0)
    return SymmetryFrame(rotation, middle, least)


class _Shells:
    """A map's transform in some shells, each of zero mean and unit power."""

    def __init__(self, volume: NDArray[np.floating], shells: tuple[int, int]) -> None:
        box = len(volume)
        wide = _PADDED * box
        start = (wide - box) // 2
        padded = np.zeros((wide,) * 3, np.float32)
        padded[start : start + box, start : start + box, start : start + box] = volume
        transform = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(padded)))
        both = np.stack((transform.real, transform.imag)).astype(np.float32)
        self._box, self._grid, self._half = box, torch.from_numpy(both), wide // 2
        line = np.arange(-shells[1], shells[1] + 1)
        points = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
        radius = np.linalg.norm(points, axis=1)
        # of k and −k one
        above = points @ (1e6, 1e3, 1) > 0
        inside = (radius >= shells[0] - 0.5) & (radius < shells[1] + 0.5) & above
        self._points = points[inside].astype(np.float64)
        shell = np.rint(radius[inside]).astype(int)
        self._shell = torch.from_numpy(np.unique(shell, return_inverse=True)[1])

    def likeness(
        self, frame: NDArray[np.float64], middle: NDArray[np.float64], turns: NDArray[np.float64]
    ) -> float:
        """Return the mean correlation of the map with itself after turns (t, 3, 3) in a frame."""
        before = self._at(self._points, middle)
        found = [
            self._correlation(before, self._at(self._points @ (frame @ turn @ frame.T), middle))
            for turn in turns
        ]
        return float(np.mean(found))

    def _at(self, points: NDArray[np.float64], middle: NDArray[np.float64]) -> Tensor:
        """Return the transform at points (m, 3), (x, y, z), of the map moved to its middle."""
        # the grid ends one step before its first point comes again
        where = torch.from_numpy(_PADDED * points / (self._half - 0.5) + 0.5 / (self._half - 0.5))
        sampled = values_at(self._grid, where.float())
        phase = torch.from_numpy(2 * np.pi * points @ middle / self._box).float()
        return torch.complex(sampled[0], sampled[1]) * torch.polar(torch.ones_like(phase), phase)

    def _correlation(self, one: Tensor, other: Tensor) -> float:
        """Return the mean over shells of the correlation about their means."""
        count = torch.bincount(self._shell).float()
        whole = []
        for values in (one, other):
            parts = [
                torch.bincount(self._shell, part) / count for part in (values.real, values.imag)
            ]
            whole.append(values - torch.complex(*(part.float() for part in parts))[self._shell])
        one, other = whole
        product = torch.bincount(self._shell, (one * other.conj()).real)
        power = [torch.bincount(self._shell, each.abs().square()) for each in (one, other)]
        return float((product / (power[0] * power[1]).sqrt().clamp(min=_TINY)).mean())


def _makers(group: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one or two turns whose products are the group, (≤ 2, 3, 3)."""
    angles = np.array([Rotation.from_matrix(turn).magnitude() for turn in group])
    order = np.argsort(np.where(angles > 1e-3, angles, np.inf))
    first = group[order[0]]
    if len(_products(first[None])) == len(group):
        return np.stack((first,))
    for place in order[1:]:
        both = np.stack((first, group[place]))
        if len(_products(both)) == len(group):
            return both
    return group


def _products(turns: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return all products of turns, the identity among them, up to some more than 60."""
    found = [np.eye(3)]
    for known in found:
        for turn in turns:
            new = known @ turn
            if all(np.abs(new - each).max() > 1e-3 for each in found) and len(found) <= 240:
                found.append(new)
    return found


def _centre_of_mass(volume: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the centre of the positive density, (x, y, z) from the middle of the box."""
    density = np.clip(volume - volume.mean(), 0, None).astype(np.float64)
    line = np.arange(len(volume)) - len(volume) // 2
    total = max(density.sum(), _TINY)
    along = [(density.sum(axes) * line).sum() / total for axes in ((0, 1), (0, 2), (1, 2))]
    return np.array(along, dtype=np.float64)


def _apart(
    frames: NDArray[np.float64], likeness: NDArray[np.float64], group: NDArray[np.float64]
) -> list[int]:
    """Return the best frames, none of them near to a better one or its mates."""
    left, found = likeness.copy(), []
    for _ in range(_REFINED):
        best = int(left.argmax())
        if not np.isfinite(left[best]):
            break
        found.append(best)
        mates = frames[best] @ group
        trace = np.einsum("gij,nij->ng", mates, frames).max(1)
        left[trace > 1 + 2 * np.cos(np.radians(20))] = -np.inf
    return found


def _refined(
    shells: _Shells,
    frame: NDArray[np.float64],
    middle: NDArray[np.float64],
    makers: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return a frame and the middle refined, and the likeness there."""

    def of(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        turned = Rotation.from_rotvec(values[:3]).as_matrix() @ frame
        return turned, middle + 10 * values[3:]

    def loss(values: NDArray[np.float64]) -> float:
        return -shells.likeness(*of(values), makers)

    simplex = np.concatenate((np.zeros((1, 6)), 0.1 * np.eye(6)))
    options = {"initial_simplex": simplex, "maxfev": 400, "xatol": 1e-3, "fatol": 1e-5}
    best = scipy.optimize.minimize(loss, np.zeros(6), method="Nelder-Mead", options=options)
    return (*of(best.x), -float(best.fun))
