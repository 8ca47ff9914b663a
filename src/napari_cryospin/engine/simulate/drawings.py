"""What is drawn that is no molecule: edges of the carbon, blobs of ice, gold beads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import torch

from napari_cryospin.engine.data.nuisances import Junk
from napari_cryospin.engine.simulate.streams import Stream, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.simulate.images import Transfer

# Å; beads wider than a share of the box are made smaller
_BEAD_DIAMETERS = (50.0, 100.0)
_WIDEST_BEAD = 0.25
# what a drawing with nothing in the image is divided by
_TINY = 1e-9


class Drawings:
    """Draws images (D, D) of what is no molecule, in the images' units.

    Parameters
    ----------
    transfer
        The microscope.
    noise, signal
        Standard deviations of the noise, and of the clean images of particles.
    bead_height
        Height of gold beads, standard deviations of the noise.
    seed
        Random seed.
    """

    def __init__(
        self, transfer: Transfer, *, noise: float, signal: float, bead_height: float, seed: int
    ) -> None:
        self._transfer, self._noise, self._signal = transfer, noise, signal
        self._bead_height, self._seed = bead_height, seed
        self._box, self._pixel_size = transfer.table.box, transfer.table.pixel_size
        line = np.arange(2 * self._box) - self._box
        self._y, self._x = np.meshgrid(line, line, indexing="ij")

    def junk(self, row: int, kind: Junk) -> NDArray[np.float32]:
        """Return what junk of a kind shows beside molecules."""
        rng = stream(self._seed, Stream.DRAWINGS, row)
        draw = {Junk.EDGE: self._edge, Junk.BLOB: self._blob}.get(kind)
        drawn = np.zeros((self._box,) * 2) if draw is None else draw(row, rng)
        return np.asarray(drawn, dtype=np.float32)

    def bead(self, row: int) -> NDArray[np.float32]:
        """Return a gold bead somewhere in the image."""
        rng = stream(self._seed, Stream.BEADS, row)
        diameter = min(rng.uniform(*_BEAD_DIAMETERS) / self._pixel_size, _WIDEST_BEAD * self._box)
        x, y = rng.uniform(-0.5, 0.5, 2) * self._box
        beyond = np.hypot(self._x - x, self._y - y) - diameter / 2
        disc = 1 / (1 + np.exp(np.clip(4 * beyond, -50, 50)))
        height = self._noise * self._bead_height * rng.uniform(0.8, 1.2)
        # gold is opaque: what the CTF makes of it are the fringes about its rim
        fringes = self._seen(row, disc)
        fringes *= 0.3 / max(float(np.abs(fringes).max()), _TINY)
        return np.asarray(height * (self._cropped(disc) + fringes), dtype=np.float32)

    def _edge(self, row: int, rng: np.random.Generator) -> NDArray[np.floating]:
        """Draw the edge of the carbon film: denser, grainy, with fringes along it."""
        angle = rng.uniform(0, 2 * np.pi)
        # the edge itself is always in the image
        offset = float(np.clip(rng.normal(0, 0.2), -0.4, 0.4)) * self._box
        bend = rng.normal(0, 0.15) / self._box
        along = self._x * np.cos(angle) + self._y * np.sin(angle)
        across = self._y * np.cos(angle) - self._x * np.sin(angle) + bend * along**2 + offset
        ragged = self._lumps(rng, 12.0) * rng.uniform(3.0, 9.0) / self._pixel_size
        inside = across + ragged
        # the film is thinner towards its edge, and never of one thickness
        thickness = 0.6 + 0.4 * np.clip(inside / (0.3 * self._box), 0, 1)
        thickness += 0.15 * self._lumps(rng, 60.0)
        film = thickness / (1 + np.exp(np.clip(-inside / 1.5, -50, 50)))
        grain = self._seen(row, film * rng.standard_normal(film.shape))
        fringes = self._seen(row, film)
        absorbed = self._cropped(film)
        drawn = (
            rng.uniform(0.3, 1.0) * (absorbed - absorbed.mean())
            + rng.uniform(0.4, 0.9) * grain / max(float(grain.std()), _TINY)
            + rng.uniform(0.5, 1.2) * fringes / max(float(np.abs(fringes).max()), _TINY)
        )
        return np.asarray(self._noise * drawn)

    def _blob(self, row: int, rng: np.random.Generator) -> NDArray[np.floating]:
        """Draw a lump without structure: ice that fell on the film, or denatured protein."""
        middle = rng.normal(0, 0.08 * self._box, 2)
        squared = sum(
            ((axis - place) / (rng.uniform(0.06, 0.16) * self._box)) ** 2
            for axis, place in zip((self._x, self._y), middle, strict=True)
        )
        # lumpy thickness, within an oval: its outline is no curve that one could name
        lumps = 0.7 * self._lumps(rng, 0.06 * self._box * self._pixel_size)
        fine = 0.25 * self._lumps(rng, 10.0)
        density = np.maximum(1 + lumps - squared, 0) ** 0.7 * np.maximum(1 + fine, 0)
        lump = scipy.ndimage.gaussian_filter(density, 1.0)
        seen = self._seen(row, lump) + 0.1 * self._cropped(lump)
        height = rng.uniform(0.8, 2.5) * self._signal
        return np.asarray(height * seen / max(float(seen.std()), _TINY))

    def _lumps(self, rng: np.random.Generator, length: float) -> NDArray[np.float64]:
        """Return a random field of unit variance, smooth over a length in Å, on the canvas."""
        white = rng.standard_normal(self._x.shape)
        smooth = scipy.ndimage.gaussian_filter(white, length / self._pixel_size, mode="wrap")
        return np.asarray(smooth / smooth.std())

    def _seen(self, row: int, density: NDArray[np.floating]) -> NDArray[np.float32]:
        canvas = torch.from_numpy(np.asarray(density, dtype=np.float32))[None]
        seen: NDArray[np.float32] = self._transfer.through(np.array([row]), canvas)[0].numpy()
        return seen

    def _cropped(self, canvas: NDArray[np.floating]) -> NDArray[np.float32]:
        half = self._box // 2
        middle = slice(half, half + self._box)
        return np.asarray(canvas[middle, middle], dtype=np.float32)
