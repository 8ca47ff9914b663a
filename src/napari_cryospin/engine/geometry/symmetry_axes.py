"""Where the axes of a symmetric map lie: the frame in which it has a point group's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import scipy.optimize
import torch
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.geometry.cells import n_cells, rotations_of_cells
from napari_cryospin.engine.geometry.map_shells import MapTransform, Shells

if TYPE_CHECKING:
    from numpy.typing import NDArray

# shells that are compared at first, and in the end: the lowest are round whatever the map
_COARSE, _FINE = (2, 5), (2, 8)
# level of the frames that are tried, and how many of them are refined
_NSIDE, _REFINED = 4, 12
# likeness at low frequency from which on a frame is worth being refined
_PROMISING = 0.3
# frames that are compared at once
_AT_ONCE = 256
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
    frames = rotations_of_cells(np.arange(n_cells(_NSIDE)), _NSIDE)
    return FrameSearch(volume).best(frames, group, _REFINED)


class FrameSearch:
    """Looks for the frame in which a map has the axes of a point group.

    Parameters
    ----------
    volume
        Map, (D, D, D), axes (z, y, x).
    """

    def __init__(self, volume: NDArray[np.floating]) -> None:
        self._transform = MapTransform(volume)
        self._coarse, self._fine = (Shells(*shells) for shells in (_COARSE, _FINE))
        self._middle = centre_of_mass(volume)

    def best(
        self, frames: NDArray[np.float64], group: NDArray[np.float64], refined: int
    ) -> SymmetryFrame:
        """Return the best frame, refined.

        Parameters
        ----------
        frames
            The frames that are compared, (n, 3, 3).
        group
            Turns of the group, (g, 3, 3).
        refined
            How many of the best of them are refined, none of them near to another.
        """
        makers = _makers(group)
        places = _apart(frames, self._likeness(frames, makers), group, refined)
        found = [self._refined(frames[place], makers) for place in places]
        rotation, middle, _ = max(found, key=lambda each: each[2])
        # along a single axis nothing tells the middle
        free = rotation @ group.mean(0) @ rotation.T
        middle = middle - free @ (middle - self._middle)
        turns = [turn for turn in group if np.abs(turn - np.eye(3)).max() > _TINY]
        alike = (self._of(self._fine, rotation[None], middle, turn[None])[0] for turn in turns)
        return SymmetryFrame(rotation, middle, min(map(float, alike), default=1.0))

    def promises(self, frames: NDArray[np.float64], group: NDArray[np.float64]) -> bool:
        """Return whether one of frames (n, 3, 3) is worth being refined."""
        return float(self._likeness(frames, _makers(group)).max()) >= _PROMISING

    def _likeness(
        self, frames: NDArray[np.float64], makers: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return how alike the map is at low frequency in frames (n, 3, 3), (n,)."""
        parts = np.array_split(frames, math.ceil(len(frames) / _AT_ONCE))
        return np.concatenate(
            [self._of(self._coarse, part, self._middle, makers) for part in parts]
        )

    def _of(
        self,
        shells: Shells,
        frames: NDArray[np.float64],
        middle: NDArray[np.float64],
        turns: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return how the map correlates with itself after turns (t, 3, 3) in frames, mean, (n,)."""
        points, at = shells.points, self._transform.at
        before, back = at(points, middle), frames.swapaxes(1, 2)
        after = (at(points @ (frames @ turn @ back), middle) for turn in turns)
        found = [shells.correlations(before, values).mean(1) for values in after]
        return np.asarray(torch.stack(found).mean(0).double().numpy())

    def _refined(
        self, frame: NDArray[np.float64], makers: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return a frame and the middle refined, and the likeness there."""

        def of(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            turned = Rotation.from_rotvec(values[:3]).as_matrix() @ frame
            return turned, self._middle + 10 * values[3:]

        def loss(values: NDArray[np.float64]) -> float:
            turned, centre = of(values)
            return -float(self._of(self._fine, turned[None], centre, makers)[0])

        simplex = np.concatenate((np.zeros((1, 6)), 0.1 * np.eye(6)))
        options = {"initial_simplex": simplex, "maxfev": 400, "xatol": 1e-3, "fatol": 1e-5}
        best = scipy.optimize.minimize(loss, np.zeros(6), method="Nelder-Mead", options=options)
        return (*of(best.x), -float(best.fun))


def _makers(group: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return turns whose products are the group: one or two of them, or else all, (t, 3, 3)."""
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


def centre_of_mass(volume: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the centre of the positive density, (x, y, z) from the middle of the box."""
    density = np.clip(volume - volume.mean(), 0, None).astype(np.float64)
    line = np.arange(len(volume)) - len(volume) // 2
    total = max(density.sum(), _TINY)
    along = [(density.sum(axes) * line).sum() / total for axes in ((0, 1), (0, 2), (1, 2))]
    return np.array(along, dtype=np.float64)


def _apart(
    frames: NDArray[np.float64],
    likeness: NDArray[np.float64],
    group: NDArray[np.float64],
    most: int,
) -> list[int]:
    """Return the best frames, so many at most, none of them near to a better one or its mates."""
    left, found = likeness.copy(), []
    for _ in range(most):
        best = int(left.argmax())
        if not np.isfinite(left[best]):
            break
        found.append(best)
        mates = frames[best] @ group
        trace = np.einsum("gij,nij->ng", mates, frames).max(1)
        left[trace > 1 + 2 * np.cos(np.radians(20))] = -np.inf
    return found
