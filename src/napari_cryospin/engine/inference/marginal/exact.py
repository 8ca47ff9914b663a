"""Posteriors by full quadrature: every pose of the grid, every shift.

The sums over poses are matrix products: the log-probabilities of images at all poses, and the
weighted averages of images that go into the map at every pose.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.slices import insert_slices
from napari_cryospin.engine.inference.grid import normalised
from napari_cryospin.engine.inference.marginal.posteriors import (
    KEPT_CELLS,
    PoseSum,
    Posteriors,
    posterior_scale,
)
from napari_cryospin.engine.models.map_update import Statistics

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.inference.marginal.posteriors import Observed
    from napari_cryospin.engine.inference.marginal.quadrature import Quadrature

# slices with less than this share of the mean weight are left out: they carry nothing
_NEGLIGIBLE = 1e-4


class ExactSum(PoseSum):
    """A sum over all points of a quadrature.

    Parameters
    ----------
    quadrature, variance
        As for every sum.
    grid
        Hartley grid (D+1)³ of the map.
    """

    def __init__(self, quadrature: Quadrature, grid: Tensor, variance: Tensor) -> None:
        super().__init__(quadrature, variance)
        self._slices = quadrature.slices(grid)
        self._squares = self._slices.square()
        self._sums: Tensor | None = None
        self._power = torch.zeros_like(variance)
        self._n = 0

    def posteriors(
        self, images: Observed, *, collect: bool = False, look_beyond: bool = False
    ) -> Posteriors:
        """Return the posteriors of images."""
        size = self.quadrature.images_per_block()
        parts = [
            self._block(images[part], collect, look_beyond)
            for part in (slice(i, i + size) for i in range(0, len(images.rows), size))
        ]
        return Posteriors.join(parts)

    def _block(self, images: Observed, collect: bool, look_beyond: bool) -> Posteriors:
        quadrature, used = self.quadrature, self.quadrature.n_used
        b, n_shifts, n_poses = len(images.rows), len(quadrature.shifts), len(quadrature.rotations)
        centred = quadrature.model.shift(images.coefficients[:, None], quadrature.shifts)
        signal = images.ctf[:, None] * centred
        ctf2 = images.ctf.square()
        precision = self._precision[:used]
        power = (ctf2[:, :used] * precision) @ self._squares[:, :used].T
        weighted = (signal[..., :used] * precision).flatten(0, 1)
        cross = (weighted @ self._slices[:, :used].T).view(b, n_shifts, n_poses)
        log_p = cross - 0.5 * power[:, None]
        weights, total = normalised(log_p)
        by_pose = weights.sum(1)
        found, cells = by_pose.topk(min(KEPT_CELLS, n_poses), 1)
        at_cells = log_p.gather(2, cells[:, None].expand(b, n_shifts, -1))
        mean_cross = torch.einsum("bsj,bsj->b", weights, cross)
        mean_power = (by_pose * power).sum(1)
        noise = (images.coefficients[:, :used].square() * precision).sum(1)
        if collect:
            self._collect(weights, by_pose, signal, ctf2, images.coefficients)
        log_evidence = total - math.log(n_shifts * n_poses)
        beyond = torch.zeros_like(total)
        if look_beyond:
            rest = self._precision[used:]
            more = (signal[..., used:] * rest).flatten(0, 1) @ self._slices[:, used:].T
            power = (ctf2[:, used:] * rest) @ self._squares[:, used:].T
            log_p += more.view(b, n_shifts, n_poses) - 0.5 * power[:, None]
            beyond = torch.logsumexp(log_p.flatten(1), 1) - total
        return Posteriors(
            log_evidence=log_evidence,
            information=mean_cross - 0.5 * mean_power - log_evidence,
            cells=cells,
            weights=found,
            cell_shifts=quadrature.shifts[at_cells.argmax(1)],
            shift_weights=weights.sum(2),
            scales=posterior_scale(mean_cross, mean_power, images.scales),
            errors=(noise - 2 * mean_cross + mean_power) / used,
            points=torch.full((b,), quadrature.n_points, device=cells.device),
            beyond=beyond,
        )

    def _collect(
        self, weights: Tensor, by_pose: Tensor, signal: Tensor, ctf2: Tensor, images: Tensor
    ) -> None:
        if self._sums is None:
            self._sums = self._slices.new_zeros(2, *self._slices.shape)
        self._sums[0].addmm_(weights.flatten(0, 1).T, signal.flatten(0, 1))
        self._sums[1].addmm_(by_pose.T, ctf2)
        self._power += images.square().sum(0)
        self._n += len(images)

    def statistics(self) -> Statistics:
        """Return what was collected."""
        assert self._sums is not None, "nothing was collected"
        quadrature = self.quadrature
        signal, ctf2 = self._sums
        weight = ctf2.mean(1)
        used = weight > _NEGLIGIBLE * weight.mean()
        inserted = insert_slices(
            self._sums[:, used],
            quadrature.rotations[used],
            quadrature.model.frequencies,
            quadrature.model.box,
        )
        # a shift mixes k and −k alone: shell by shell the power is what it was
        residual = self._power - 2 * (signal * self._slices).sum(0) + (ctf2 * self._squares).sum(0)
        return Statistics(inserted, residual, self._n)
