"""The point group of a map: which it is, and whether the particles have it too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.geometry.map_shells import MapTransform, Shells
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_search import likely_groups
from napari_cryospin.engine.judging.mates import Mates
from napari_cryospin.engine.judging.symmetry_gain import SymmetryGain
from napari_cryospin.engine.judging.symmetry_local import local_gain
from napari_cryospin.engine.models.volume import map_of_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame
    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.state.problem import Problem

# shells that are compared, at most: those where the half-maps agree so far, which must be so many
_FIRST, _LAST, _AGREE, _FEWEST = 3, 20, 0.5, 3
# a map is alike after the turns of a group, and nearly so, where it correlates with itself by so
# much of what its halves do
_ALIKE, _NEARLY = 0.8, 0.6
# so much that it is enough where particles see no difference, in standard errors
_SURE, _NO_DIFFERENCE = 0.9, 2.0
# correlation at low frequency below which no group is looked at; of those that the map is not alike
# after, particles must prefer one by so many standard errors
_LEAST, _SIGNIFICANT = 0.4, 3.0
# mates are others where particles tell them apart by so many nats
_TOLD_APART = 1.0
# the largest group that the particles gain so much of the most by
_OF_MOST = 0.5
# rotation vector of no meaning: what is compared is read between the points of both maps
_BASE = (0.3, 0.5, 0.2)
# pixels in which the mask falls to 0
_EDGE = 3.0


@dataclass(frozen=True)
class MapSymmetry:
    """A point group that a map has, or nearly has.

    Parameters
    ----------
    name
        The group.
    frame
        The frame in which the map has its axes.
    correlation
        Least correlation of one half-map with the other one after a turn of the group: a mean over
        the shells in which the half-maps agree; None where these are too few to tell.
    allowed
        Their correlation without a turn: what noise allows; None as well.
    gain, gain_error
        How much more likely held-out particles are by a map that has the group than by one that has
        not, mean and standard error, nats each; None where too few were held out.
    told_apart
        How much less likely particles are at their poses by half-maps that have the group, at all
        frequencies, median, nats; None where the map is not alike.
    """

    name: str
    frame: SymmetryFrame
    correlation: float | None
    allowed: float | None
    gain: float | None
    gain_error: float | None
    told_apart: float | None = None

    @property
    def alike(self) -> bool:
        """Whether the map looks the same after the turns, as far as noise allows."""
        return self._reaches(_ALIKE)

    @property
    def true(self) -> bool:
        """Whether the particles have it: the map looks the same, and they say nothing else."""
        sure = self._reaches(_SURE)
        if self.told_apart is not None and self.told_apart > _TOLD_APART:
            return False
        if self.gain is None or self.gain_error is None:
            return sure
        return self.alike and self.gain > (-_NO_DIFFERENCE * self.gain_error if sure else 0.0)

    @property
    def missed(self) -> bool:
        """Whether the particles have it, and this map has not: it shows a wrong structure."""
        if self.alike or self.gain is None or self.gain_error is None:
            return False
        return self.gain > _SIGNIFICANT * self.gain_error

    @property
    def proven(self) -> bool:
        """Whether the particles prefer a map that has it, and not only see no difference."""
        if self.gain is None or self.gain_error is None:
            return False
        return self.missed or (self.true and self.gain > _SIGNIFICANT * self.gain_error)

    @property
    def pseudo(self) -> bool:
        """Whether the map nearly has it, and the particles have not."""
        return self._reaches(_NEARLY) and not self.true and not self.missed

    def _reaches(self, share: float) -> bool:
        """Whether the map correlates with itself by such a share of what noise allows."""
        if self.correlation is None or self.allowed is None:
            return False
        return self.correlation >= share * self.allowed

    @property
    def axis(self) -> tuple[float, float, float]:
        """Direction of the main axis in the map, (x, y, z)."""
        x, y, z = (float(value) for value in self.frame.rotation[:, 2])
        return x, y, z

    @property
    def mates(self) -> Mates:
        """The turns of the group in the frame of the map."""
        frame, alike = self.frame.rotation, self.correlation or 0.0
        return Mates(frame @ point_group(self.name) @ frame.T, alike, alike)


def find_symmetry(
    problem: Problem,
    halves: HalfMaps,
    rows: tuple[Tensor, Tensor],
    noise: NoiseSpectrum,
    across: float,
) -> MapSymmetry | None:
    """Return the point group of a map, true or nearly so; None where it has none.

    The groups that the map may have are looked at from the largest on. One that it has is compared
    with none by the particles; so are those that it has not quite, and are larger.

    Parameters
    ----------
    problem
        Particles, map and poses; a group larger than its own is looked for.
    halves
        The half-maps.
    rows
        Particles that the map has learned from, and others, (l,) and (h,).
    noise
        Noise of the images.
    across
        Diameter of the ball that holds the particle, pixels.
    """
    shown = map_of_grid(problem.volume.grid().detach()).cpu().numpy()
    groups = [
        (name, frame)
        for name, frame in likely_groups(shown, len(problem.group))
        if frame.correlation >= _LEAST
    ]
    asked = None
    if min(map(len, rows)) >= 2:
        asked = SymmetryGain(problem, *rows, noise)
    looked: list[MapSymmetry] = []
    found = None
    for name, frame in groups:
        measured = half_correlation(halves, point_group(name), frame, across)
        if measured is None:
            # too little is known in this frame; those that were found in others stay
            continue
        seen = MapSymmetry(name, frame, *measured, None, None)
        if seen.alike and found is None:
            apart = -float(local_gain(problem, halves, name, frame).median())
            seen = replace(_asked(asked, seen), told_apart=apart)
            found = seen if seen.true else None
        looked.append(seen)
    known = 1 if found is None else len(point_group(found.name))
    larger = (seen for seen in looked if not seen.alike and len(point_group(seen.name)) > known)
    less_alike = [_asked(asked, seen) for seen in larger]
    missed = [each for each in less_alike if each.missed and _gain(each) > _gain(found)]
    if missed:
        most = max(_gain(each) for each in missed)
        return next(each for each in missed if _gain(each) > _OF_MOST * most)
    near = [each for each in (*looked, *less_alike) if each.pseudo and each.gain is not None]
    return found or max(near, key=lambda each: each.correlation or 0.0, default=None)


def half_correlation(
    halves: HalfMaps, group: NDArray[np.float64], frame: SymmetryFrame, across: float
) -> tuple[float, float] | None:
    """Return how half-maps correlate after the turns of a group, at least, and without any.

    A mean over the shells in which they agree; None where these are too few.

    Parameters
    ----------
    halves
        The half-maps.
    group, frame
        Turns of the group, (g, 3, 3), and the frame in which they are.
    across
        Diameter of the ball that holds the particle, pixels.
    """
    maps = [map_of_grid(grid).cpu().numpy() for grid in halves.grids]
    shells = Shells(_FIRST, min(_LAST, len(maps[0]) // 2 - 1))
    base = frame.rotation @ Rotation.from_rotvec(_BASE).as_matrix()
    masked = [MapTransform(half * _ball(len(half), frame.middle, across)) for half in maps]

    def at(turn: NDArray[np.float64]) -> list[Tensor]:
        points = shells.points @ (frame.rotation @ turn @ frame.rotation.T @ base).T
        return [half.at(points, frame.middle) for half in masked]

    one, two = at(np.eye(3))
    allowed = shells.correlations(one, two)
    agree = (allowed >= _AGREE).long().cumprod(0).bool()
    if int(agree.sum()) < _FEWEST:
        return None
    found = []
    for turn in group[1:]:
        turned = at(turn)
        both = shells.correlations(turned[0], two) + shells.correlations(one, turned[1])
        found.append(float(both[agree].mean()) / 2)
    return min(found), float(allowed[agree].mean())


def _ball(box: int, middle: NDArray[np.float64], across: float) -> NDArray[np.float32]:
    """Return a mask (D, D, D) of a ball with a soft edge, within the box."""
    line = np.arange(box) - box // 2
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    at = np.stack((x, y, z), -1) - middle
    radius = min(across, box) / 2 - _EDGE
    depth = np.clip((radius - np.linalg.norm(at, axis=-1)) / _EDGE + 1, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * depth), dtype=np.float32)


def _gain(found: MapSymmetry | None) -> float:
    return 0.0 if found is None or found.gain is None else max(found.gain, 0.0)


def _asked(asked: SymmetryGain | None, seen: MapSymmetry) -> MapSymmetry:
    """Return a group with what particles say of it."""
    if asked is None:
        return seen
    gain = asked.of(seen.name, seen.frame)
    error = float(gain.std()) / len(gain) ** 0.5
    return replace(seen, gain=float(gain.mean()), gain_error=error)
