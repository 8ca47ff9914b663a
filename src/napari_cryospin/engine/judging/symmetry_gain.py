"""What the particles say of a symmetry: how a map that has it explains those it was not made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.fourier import move_grid
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame
from napari_cryospin.engine.models.map_update import MapUpdate
from napari_cryospin.engine.models.noise import shells_of
from napari_cryospin.engine.state.problem import evenly_spread
from napari_cryospin.engine.state.turning import turned_poses
from napari_cryospin.engine.sums.centring import spread_of
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.quadrature import Quadrature

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.state.problem import Problem

# frequency radius of the comparison: poses on a coarse grid
_RADIUS = 8
# particles that each map is made of, in so many rounds of all their poses
_PARTICLES, _ROUNDS = 1000, 2


class SymmetryGain:
    """Compares a map that has a symmetry with one that has none, made in the same way.

    Both are made by a sum over all poses of the same particles, which begins with the present map,
    and asked about the same held-out ones. A symmetry that the molecule has makes a better map of
    them: of every particle it shows all mates.

    Parameters
    ----------
    problem
        Particles, map and poses; its own symmetry is what another is compared with.
    learning, held
        Rows of particles that maps are made of, and of others.
    noise
        Noise of the images.
    """

    def __init__(
        self, problem: Problem, learning: Tensor, held: Tensor, noise: NoiseSpectrum
    ) -> None:
        self._problem, self._noise = problem, noise
        self._learning, self._held = evenly_spread(learning, _PARTICLES), held
        self._spread = spread_of(problem)
        self._without: Tensor | None = None

    def of(self, name: str, frame: SymmetryFrame) -> Tensor:
        """Return how much more likely held-out particles are by a map with a group, nats, (h,).

        Parameters
        ----------
        name
            Point group that the map is given.
        frame
            Frame in which the present map has it, or nearly so.
        """
        if self._without is None:
            whole = SymmetryFrame(np.eye(3), np.zeros(3), 1.0)
            self._without = self._evidence(self._problem.model.symmetry, whole)
        return self._evidence(name, frame) - self._without

    @torch.no_grad()
    def _evidence(self, name: str, frame: SymmetryFrame) -> Tensor:
        """Return the log-evidence of the held-out particles, (h,), up to a constant of each."""
        own = self._problem
        # turning the map would change where the poses of the grid fall: the axes are turned
        group = frame.rotation @ point_group(name) @ frame.rotation.T
        turns = torch.from_numpy(group).float().to(own.device)
        centred = replace(frame, rotation=np.eye(3))
        problem = replace(own, poses=turned_poses(own.poses, centred))
        grid = own.volume.grid().detach()
        grid = move_grid(grid, -torch.from_numpy(frame.middle).to(grid))
        box, device = own.particles.box, own.device
        radius = min(_RADIUS, box // 2 - 1)
        points = Quadrature.at(box, radius, radius, spread=self._spread, device=device)
        # over all poses: of mates one may be nearer to a point of the grid than another
        mated = replace(points, group=turns)
        variance = self._noise.variance[shells_of(points.model)]
        images = problem.observed(self._learning, points.model)
        update = MapUpdate(box, own.volume.amplitude, memory=1, device=device)
        for _ in range(_ROUNDS):
            total = ExactSum(mated, grid, variance)
            total.posteriors(images, collect=True)
            (sums,) = total.collected()
            grid = update(sums.inserted, self._noise)
        held = problem.observed(self._held, points.model)
        return ExactSum(points, grid, variance).posteriors(held).log_evidence
