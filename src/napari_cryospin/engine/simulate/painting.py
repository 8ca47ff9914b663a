"""Painting the images of a scene: first what is there, then the noise over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.simulate.drawings import Drawings
from napari_cryospin.engine.simulate.fragments import fragment
from napari_cryospin.engine.simulate.images import CleanImages
from napari_cryospin.engine.simulate.noise import MicrographNoise
from napari_cryospin.engine.simulate.scene import FIRST_FRAGMENT, N_FRAGMENTS
from napari_cryospin.engine.simulate.streams import Stream, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.nuisances import Nuisances
    from napari_cryospin.engine.simulate.images import Transfer
    from napari_cryospin.engine.simulate.scene import Scene

_CHUNK_FLOATS = 16_000_000
# canvases and their transforms are larger than images
_COPIES_FLOATS = 1_000_000
# particles that tell the signal of a stack that has none
_SAMPLE = 100


class Painting:
    """Paints the images of a scene into an array, a part at a time.

    Parameters
    ----------
    maps
        Maps of one structure, or of two, (D, D, D).
    transfer
        The microscope.
    scene
        What each image shows.
    nuisances
        What lies over it.
    seed
        Random seed.
    """

    def __init__(
        self,
        maps: Sequence[NDArray[np.float32]],
        transfer: Transfer,
        scene: Scene,
        nuisances: Nuisances,
        seed: int,
    ) -> None:
        self.n, self.box = transfer.table.n_particles, maps[0].shape[0]
        self.pixel_size = transfer.table.pixel_size
        self._maps, self._transfer, self._scene = maps, transfer, scene
        self._nuisances, self._seed = nuisances, seed

    def molecules(self, images: NDArray[np.float32], report: Callable[[int], None]) -> float:
        """Paint all molecules, without noise.

        Parameters
        ----------
        images
            Filled, (n, D, D).
        report
            Called with the number of images done.

        Returns
        -------
        float
            Variance of the images of particles, with nothing else in them; where all images are
            junk, of what particles would be.
        """
        total = squares = 0.0
        done = pixels = 0
        junk = np.flatnonzero(~self._scene.belongs)
        for rows in self._chunks(junk):
            images[rows] = 0
        for number, volume in enumerate(self._maps, start=1):
            clean = CleanImages(volume, self._transfer)
            for rows in self._chunks(np.flatnonzero(self._scene.class_number == number)):
                painted = clean.images(rows)
                if self._nuisances.contrast_spread:
                    painted *= self._scene.contrast[rows, None, None].astype(np.float32)
                images[rows] = painted
                total += float(painted.sum(dtype=np.float64))
                squares += float(np.square(painted, dtype=np.float64).sum())
                pixels += painted.size
                done += len(rows)
                report(done)
            if not self._scene.belongs.any():
                painted = clean.images(np.arange(min(self.n, _SAMPLE)))
                total, squares, pixels = 0.0, float(np.square(painted).sum()), painted.size
            self._copies(images, number - 1, clean)
        self._fragments(images)
        report(self.n)
        mean = total / pixels
        return squares / pixels - mean**2

    def noise(
        self,
        images: NDArray[np.float32],
        variance: float,
        snr: float,
        rng: np.random.Generator,
        report: Callable[[int], None],
    ) -> None:
        """Add noise, and what is drawn in units of it.

        Parameters
        ----------
        images
            Changed in place, (n, D, D).
        variance
            Result of :meth:`molecules`.
        snr
            Variance of the clean images over variance of the noise.
        rng
            Where white noise comes from.
        report
            Called with the number of images done.
        """
        deviation = np.float32(np.sqrt(variance / snr))
        over = MicrographNoise(self._nuisances, self._transfer, self._seed)
        drawings = Drawings(
            self._transfer,
            noise=float(deviation),
            signal=float(np.sqrt(variance)),
            bead_height=self._nuisances.bead_height,
            seed=self._seed,
        )
        for rows in self._chunks(np.arange(self.n)):
            white = rng.standard_normal((len(rows), self.box, self.box), np.float32)
            images[rows[0] : rows[-1] + 1] += deviation * over.noise(rows, white)
            if self._nuisances.ramp or self._nuisances.background:
                images[rows[0] : rows[-1] + 1] += deviation * over.under(len(rows))
            for row in rows:
                kind = self._scene.junk[row]
                if kind is not None:
                    images[row] += drawings.junk(int(row), kind)
                if self._scene.with_bead[row]:
                    images[row] += drawings.bead(int(row))
            report(int(rows[-1]) + 1)

    def _chunks(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        if len(rows):
            number = max(1, -(-len(rows) * self.box**2 // _CHUNK_FLOATS))
            yield from np.array_split(rows, number)

    def _copies(self, images: NDArray[np.float32], source: int, clean: CleanImages) -> None:
        copies = self._scene.copies.of_source(source)
        step = max(1, _COPIES_FLOATS // (4 * self.box**2))
        for start in range(0, len(copies.rows), step):
            part = slice(start, start + step)
            painted = clean.copies(copies, part)
            for row, image in zip(copies.rows[part], painted, strict=True):
                images[row] += np.float32(self._scene.contrast[row]) * image

    def _fragments(self, images: NDArray[np.float32]) -> None:
        """Paint the pieces of the molecule; one is in memory at a time."""
        for number in range(N_FRAGMENTS):
            source = FIRST_FRAGMENT + number
            if (self._scene.copies.source == source).any():
                rng = stream(self._seed, Stream.FRAGMENTS, number)
                piece = fragment(self._maps[0], rng)
                self._copies(images, source, CleanImages(piece, self._transfer))
