"""What each image shows, decided before any is drawn: particle or junk, and what else is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.nuisances import Junk
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.simulate.streams import Stream, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.nuisances import Nuisances

# pieces into which the molecule falls, in a stack
N_FRAGMENTS = 3
FIRST_FRAGMENT = 2
_MOST_IN_AGGREGATE = 6


@dataclass(frozen=True)
class Scene:
    """What n images show.

    Parameters
    ----------
    class_number
        1 or 2: the structure whose particle is shown; 0: junk. Shape (n,).
    junk
        Kind of junk, or None for a particle; n of them.
    contrast
        What the density is multiplied with, (n,).
    with_bead
        Whether there is a gold bead, (n,).
    copies
        Molecules beside those in the middle.
    """

    class_number: NDArray[np.int64]
    junk: list[Junk | None]
    contrast: NDArray[np.float64]
    with_bead: NDArray[np.bool_]
    copies: Copies

    @property
    def belongs(self) -> NDArray[np.bool_]:
        """Which images show a particle, (n,)."""
        return self.class_number > 0

    def rows_of(self, *kinds: Junk) -> NDArray[np.int64]:
        """Return the images of these kinds of junk."""
        return np.array([i for i, kind in enumerate(self.junk) if kind in kinds], dtype=np.int64)


@dataclass(frozen=True)
class Copies:
    """Molecules, or pieces, that images show anywhere.

    Parameters
    ----------
    rows
        Which image each is in, (m,).
    source
        Which molecule: 0 the first structure, 1 the second, from 2 the fragments; (m,).
    rotations
        Poses, (m, 3, 3).
    places
        Where they lie, (x, y) from the centre, pixels, (m, 2).
    """

    rows: NDArray[np.int64]
    source: NDArray[np.int64]
    rotations: NDArray[np.float64]
    places: NDArray[np.float64]

    def of_source(self, source: int) -> Copies:
        """Return those of one molecule."""
        here = self.source == source
        return Copies(self.rows[here], self.source[here], self.rotations[here], self.places[here])


def plan(n: int, box: int, radius: float, nuisances: Nuisances, seed: int, *, two: bool) -> Scene:
    """Decide what n images show.

    Parameters
    ----------
    n, box
        Number of images, and their side in pixels.
    radius
        Radius of the molecule, pixels.
    nuisances
        Shares of junk, neighbours and the like.
    seed
        Random seed.
    two
        Whether there is a second structure.
    """
    junk = _junk(n, nuisances, seed)
    belongs = np.array([kind is None for kind in junk])
    class_number = belongs.astype(np.int64)
    if two:
        members = np.flatnonzero(belongs)
        number = round(nuisances.second_share * len(members))
        class_number[stream(seed, Stream.CLASSES).permutation(members)[:number]] = 2
    contrast = np.ones(n)
    if nuisances.contrast_spread:
        variance = np.log1p(nuisances.contrast_spread**2)
        normal = stream(seed, Stream.CONTRAST).standard_normal(n)
        contrast = np.exp(np.sqrt(variance) * normal - variance / 2)
    with_bead = np.zeros(n, dtype=bool)
    with_bead[_some(n, nuisances.beads, stream(seed, Stream.BEADS))] = True
    copies = _Placing(box, radius, nuisances.second_share if two else 0.0, seed)
    for row, kind in enumerate(junk):
        if kind is not None:
            copies.junk(row, kind)
    crowded = stream(seed, Stream.NEIGHBOURS).permutation(np.flatnonzero(belongs))
    for row in crowded[: round(nuisances.neighbours * len(crowded))]:
        copies.neighbours(int(row))
    return Scene(class_number, junk, contrast, with_bead, copies.found())


def _some(n: int, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.asarray(rng.permutation(n)[: round(share * n)])


def _junk(n: int, nuisances: Nuisances, seed: int) -> list[Junk | None]:
    kinds: list[Junk | None] = [None] * n
    named = tuple(dict.fromkeys(nuisances.junk_kinds))
    for i, row in enumerate(_some(n, nuisances.junk, stream(seed, Stream.JUNK))):
        kinds[row] = named[i % len(named)]
    return kinds


class _Placing:
    """Collects the copies of a scene."""

    def __init__(self, box: int, radius: float, second_share: float, seed: int) -> None:
        self._box, self._radius = box, radius
        self._second_share, self._seed = second_share, seed
        self._rows: list[int] = []
        self._sources: list[int] = []
        self._rotations: list[NDArray[np.float64]] = []
        self._places: list[NDArray[np.float64]] = []

    def junk(self, row: int, kind: Junk) -> None:
        """Place what junk of a kind is made of."""
        rng = stream(self._seed, Stream.COPIES, row)
        if kind == Junk.CUT:
            rim = self._box / 2
            self._add(row, rng, _around(rng, rim - 0.2 * self._radius, rim + 0.35 * self._radius))
        elif kind == Junk.FRAGMENT:
            source = FIRST_FRAGMENT + int(rng.integers(N_FRAGMENTS))
            self._add(row, rng, rng.normal(0, 0.08 * self._box, 2), source)
        elif kind == Junk.AGGREGATE:
            self._aggregate(row, rng)

    def neighbours(self, row: int) -> None:
        """Place one or two other particles such that they reach into the image."""
        rng = stream(self._seed, Stream.COPIES, row)
        farthest = self._box / 2 + 0.6 * self._radius
        # no closer than molecules that touch
        nearest = min(1.7 * self._radius, farthest)
        for _ in range(1 + int(rng.random() < 0.3)):
            self._add(row, rng, _around(rng, nearest, farthest))

    def found(self) -> Copies:
        """Return all copies, in the order of the images."""
        rows = np.array(self._rows, dtype=np.int64)
        order = np.argsort(rows, kind="stable")
        return Copies(
            rows[order],
            np.array(self._sources, dtype=np.int64)[order],
            np.array(self._rotations).reshape(-1, 3, 3)[order],
            np.array(self._places).reshape(-1, 2)[order],
        )

    def _aggregate(self, row: int, rng: np.random.Generator) -> None:
        # each copy beside one that is there already, as clumps grow
        places = [rng.normal(0, 0.4 * self._radius, 2)]
        for _ in range(int(rng.integers(2, _MOST_IN_AGGREGATE))):
            beside = places[int(rng.integers(len(places)))]
            places.append(beside + _around(rng, 0.8 * self._radius, 1.4 * self._radius))
        for place in places:
            self._add(row, rng, place)

    def _add(
        self,
        row: int,
        rng: np.random.Generator,
        place: NDArray[np.float64],
        source: int | None = None,
    ) -> None:
        if source is None:
            source = int(rng.random() < self._second_share)
        self._rows.append(row)
        self._sources.append(source)
        self._rotations.append(random_rotations(1, rng)[0])
        self._places.append(place)


def _around(rng: np.random.Generator, nearest: float, farthest: float) -> NDArray[np.float64]:
    """Return a place at some distance in a random direction, (x, y)."""
    angle = rng.uniform(0, 2 * np.pi)
    return rng.uniform(nearest, farthest) * np.array([np.cos(angle), np.sin(angle)])
