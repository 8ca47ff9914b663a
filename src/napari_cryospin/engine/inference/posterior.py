"""The posterior explorer: every plausible pose of one particle, against a given map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.grids import pose_grid
from napari_cryospin.engine.geometry.rotations import euler_from_matrices
from napari_cryospin.engine.inference.grid import GridSlices
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import grid_of_map

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.preprocess import WorkingStack

# slices are kept between particles while they take less than this many floats
_KEPT = 40_000_000
_POSES_PER_PART = 8192


@dataclass(frozen=True)
class ParticlePosterior:
    """Posterior of the pose of one particle over HEALPix directions × in-plane rotations.

    Parameters
    ----------
    particle
        Row of the working stack.
    nside
        HEALPix nside of the directions.
    direction_probability
        Probability of each view direction, summed over in-plane rotations, shape (12 nside²,), in
        RING order, in the frame of the map.
    in_plane_probability
        Probability of each in-plane rotation at the best direction, shape (6 nside,).
    best_rotation
        Most probable pose of the grid, Euler matrix (3, 3).
    best_shift
        Origin shift (x, y) that was used, pixels of the working box.
    best_in_plane
        ``rlnAnglePsi`` of the best pose, degrees.
    entropy
        Entropy over the whole grid, nats; its exponential is the effective number of poses.
    image, projection, difference
        The particle, the CTF-multiplied projection of the map at the best pose, and the particle
        less the projection, each (D, D), in one unit (noise of variance 1).
    """

    particle: int
    nside: int
    direction_probability: NDArray[np.float64]
    in_plane_probability: NDArray[np.float64]
    best_rotation: NDArray[np.float64]
    best_shift: NDArray[np.float64]
    best_in_plane: float
    entropy: float
    image: NDArray[np.float32]
    projection: NDArray[np.float32]
    difference: NDArray[np.float32]


class PosteriorExplorer:
    """Computes posteriors of single particles against the map that it was given last.

    Parameters
    ----------
    stack
        The working stack.
    nside
        HEALPix nside of the grid of view directions.
    radius
        Frequency radius (low-pass) in units of 1/box; by default what the grid resolves: 2 nside.
    """

    def __init__(self, stack: WorkingStack, *, nside: int = 8, radius: float | None = None) -> None:
        self.stack = stack
        self.grid = pose_grid(nside)
        device = stack.images.device
        self.model = ImageModel.within(stack.box, radius or 2 * nside, device)
        self._full = ImageModel.within(stack.box, stack.box / 2, device)
        self._hartley: Tensor | None = None
        self._kept: list[GridSlices] = []

    @torch.no_grad()
    def set_volume(self, volume: ArrayLike) -> None:
        """Use a map, shape (D, D, D), (z, y, x), in the unit of the normalised images."""
        tensor = torch.as_tensor(np.array(volume, dtype=np.float32))
        self._hartley = grid_of_map(tensor.to(self.stack.images.device))
        self._kept = []
        if self.grid.rotations.shape[0] * len(self.model.frequencies) <= _KEPT:
            self._kept = list(self._sliced(self._hartley))

    def _sliced(self, hartley: Tensor) -> Iterator[GridSlices]:
        for rotations in self.grid.rotations.to(hartley.device).split(_POSES_PER_PART):
            yield GridSlices.of(hartley, rotations, self.model)

    @torch.no_grad()
    def particle(self, index: int, shift: ArrayLike = (0.0, 0.0)) -> ParticlePosterior:
        """Return the posterior of one particle.

        Parameters
        ----------
        index
            Row of the working stack.
        shift
            Origin shift (x, y) of the particle, pixels of the working box.

        Raises
        ------
        RuntimeError
            If no map was set.
        """
        if self._hartley is None:
            raise RuntimeError("set_volume must be called before particle")
        row = torch.tensor([index], device=self.stack.images.device)
        image = self.stack.images[row]
        origin = torch.as_tensor(np.array(shift, dtype=np.float32), device=row.device)
        observed = self.model.shift(self.model.coefficients(image), origin)
        ctf = self.stack.ctf(row, self.model.frequencies)
        parts = self._kept or self._sliced(self._hartley)
        log_p = torch.cat([part.log_probability(observed, ctf)[0] for part in parts])
        probability = torch.softmax(log_p.double(), 0).cpu().numpy()
        best = int(probability.argmax())
        rotation = self.grid.rotations[best]
        projection = self._projection(rotation, origin, row)
        per_direction = probability.reshape(-1, self.grid.n_psi)
        in_plane = per_direction[best // self.grid.n_psi]
        particle = image[0].cpu().numpy()
        return ParticlePosterior(
            particle=index,
            nside=self.grid.nside,
            direction_probability=per_direction.sum(1),
            in_plane_probability=in_plane / in_plane.sum(),
            best_rotation=rotation.double().numpy(),
            best_shift=origin.double().cpu().numpy(),
            best_in_plane=float(euler_from_matrices(rotation.numpy())[2]),
            entropy=float(-(probability * np.log(np.maximum(probability, 1e-300))).sum()),
            image=particle,
            projection=projection,
            difference=particle - projection,
        )

    def _projection(self, rotation: Tensor, origin: Tensor, row: Tensor) -> NDArray[np.float32]:
        assert self._hartley is not None
        rotations = rotation[None].to(self._hartley.device)
        coefficients = self._full.project(self._hartley, rotations, origin[None])
        ctf = self.stack.ctf(row, self._full.frequencies)
        result: NDArray[np.float32] = self._full.images(ctf * coefficients)[0].cpu().numpy()
        return result
