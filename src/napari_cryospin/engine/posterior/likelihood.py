"""The likelihood of poses given a map: images and CTFs in units of the noise, slices of the map.

It is the one that training works with: the same slices and products (:mod:`~.sums.products`), and
CTFs times the particles' scales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.refining.candidate_modes import APART, MOST_MODES, candidate_modes
from napari_cryospin.engine.sums.finer import finer
from napari_cryospin.engine.sums.posteriors import KEPT_CELLS
from napari_cryospin.engine.sums.products import PoseSlices

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.refining.candidate_modes import CandidateModes
    from napari_cryospin.engine.sums.finer import FinePosteriors


class PoseLikelihood:
    """``log p(image | pose, map)`` of a stack's particles, inside any frequency radius.

    Parameters
    ----------
    particles
        The particles in use.
    volume
        Map (D, D, D), (z, y, x), in the unit of the normalised images.
    noise
        Noise of the images; white of unit variance by default.
    scales
        What the map is multiplied with to fit each particle, (n,); 1 by default.
    """

    def __init__(
        self,
        particles: Particles,
        volume: ArrayLike,
        noise: NoiseSpectrum | None = None,
        scales: ArrayLike | None = None,
    ) -> None:
        self.particles = particles
        device = particles.device
        tensor = torch.as_tensor(np.array(volume, dtype=np.float32)).to(device)
        # the very grid that training holds, of which the map is the picture: a finer interpolation
        # would see what lies in the corners of the box otherwise than training does
        self._map = slicer(grid_of_map(tensor))
        factors = np.ones(particles.n) if scales is None else np.array(scales)
        self._scales = torch.from_numpy(factors.astype(np.float32)).to(device)
        self.noise = noise or NoiseSpectrum.white(particles.box, device)
        self._models: dict[float, ImageModel] = {}

    @property
    def nyquist(self) -> int:
        """The largest frequency radius, in units of 1/box."""
        return self.particles.box // 2 - 1

    def model(self, radius: float) -> ImageModel:
        """Return the image model of all frequencies within a radius, in units of 1/box."""
        radius = min(radius, self.nyquist)
        if radius not in self._models:
            device = self.particles.device
            self._models[radius] = ImageModel.within(self.particles.box, radius, device)
        return self._models[radius]

    def ctf(self, rows: Tensor, model: ImageModel) -> Tensor:
        """Return the CTFs of particles times their scales, (b, K)."""
        return self.particles.ctf(rows, model.frequencies) * self._scales[rows, None]

    def observed(self, rows: Tensor, model: ImageModel, shifts: Tensor | None = None) -> Observed:
        """Return particles with their scales, centred by origin shifts (b, 2), pixels, if given."""
        scales = self._scales[rows]
        return self.particles.observed(rows, model, scales=scales, shifts=shifts)

    def whitened(self, rows: Tensor, model: ImageModel) -> Observed:
        """Return particles with their scales, in units of the noise."""
        return self.observed(rows, model).over(self.noise.deviation(model))

    def slices(self, rotations: ArrayLike, model: ImageModel) -> PoseSlices:
        """Return the slices of the map at poses (J, 3, 3)."""
        poses = torch.as_tensor(np.asarray(rotations, dtype=np.float32))
        poses = poses.to(self.particles.device)
        return PoseSlices.of(self._map.slices(poses, model.frequencies))

    def candidate_modes(
        self,
        rows: Tensor,
        model: ImageModel,
        candidates: Poses,
        *,
        shifted: bool,
        most: int = MOST_MODES,
        apart: float = APART,
    ) -> CandidateModes:
        """Return the modes of candidates (b, K) of particles, with their probabilities.

        Candidates have the particles' origin shifts, pixels.
        """
        seen = self.whitened(rows, model)
        return candidate_modes(
            model, self._map, seen, candidates, shifted=shifted, most=most, apart=apart
        )

    def finer(
        self,
        rows: Tensor,
        shifts: Tensor,
        model: ImageModel,
        log_p: Tensor,
        nside: int,
    ) -> FinePosteriors:
        """Return the posteriors of particles on finer cells around the heaviest ones of a level.

        Parameters
        ----------
        rows, shifts
            Which particles, and their origin shifts (x, y), pixels, (b,) and (b, 2).
        model
            Image model of the frequencies in use.
        log_p
            Their log-probabilities at all cells of the level, (b, J).
        nside
            The level.
        """
        heaviest = log_p.topk(min(KEPT_CELLS, log_p.shape[1]), 1)
        cells = heaviest.indices
        origins = shifts[:, None].expand(-1, cells.shape[1], -1)
        seen = self.whitened(rows, model)
        return finer(cells, heaviest.values, origins, nside, model, self._map, seen)

    def projections(self, row: int, rotations: ArrayLike, shifts: ArrayLike) -> Tensor:
        """Return projections (J, D, D) times CTF and scale, as particle ``row`` would show them.

        ``shifts`` are origin shifts (x, y), pixels of the working box, shape (J, 2).
        """
        model = self.model(self.nyquist)
        slices = self.slices(rotations, model).values
        origin = torch.as_tensor(np.asarray(shifts, dtype=np.float32)).to(slices.device)
        rows = torch.tensor([row], device=slices.device)
        return model.images(self.ctf(rows, model) * model.shift(slices, -origin))
