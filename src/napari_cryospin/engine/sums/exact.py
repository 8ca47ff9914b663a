"""Posteriors by full quadrature: every pose of the grid, and shifts around the present ones.

The sums over poses are matrix products: the log-probabilities of images at all poses, and the
weighted averages of images that go into the map at every pose. Shifts are summed over at all poses
where those are few, and else at the heaviest poses of each image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.models.sums import MapSums
from napari_cryospin.engine.sums.posteriors import (
    KEPT_CELLS,
    PoseSum,
    Posteriors,
    posterior_scale,
)
from napari_cryospin.engine.sums.products import PoseSlices
from napari_cryospin.engine.sums.weights import normalised_together

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.sums.membership import Outliers
    from napari_cryospin.engine.sums.quadrature import Quadrature

# slices with less than this share of the mean weight are left out: they carry nothing
_NEGLIGIBLE = 1e-4
# points of a sum up to which every shift is computed at every pose; else at so many poses of each
# image and map, and those of them that have less than this probability go into no map
_FEW_POINTS, _SHIFTED, _LEAST = 6_000, 32, 1e-4


@dataclass
class _Moved:
    """Images moved by all shifts but none.

    Parameters
    ----------
    cells
        Poses that they are computed at, (b, T), or None for all J of them.
    signal
        CTF times the moved images, (b, S − 1, K).
    cross, power
        Products with the slices, (b, S − 1, T), and power of the slices, (b, 1, T).
    """

    cells: Tensor | None
    signal: Tensor
    cross: Tensor
    power: Tensor

    @property
    def log_p(self) -> Tensor:
        """Log-probabilities, (b, S − 1, T)."""
        return self.cross - 0.5 * self.power

    def at_all(self, values: Tensor, n_poses: int) -> Tensor:
        """Return values (b, T) at all J poses, 0 where they were not computed."""
        if self.cells is None:
            return values
        return values.new_zeros(len(values), n_poses).scatter_(1, self.cells, values)


class ExactSum(PoseSum):
    """A sum over all poses of a quadrature.

    Parameters
    ----------
    quadrature, grids, variance, outliers
        As for every sum.
    """

    def __init__(
        self,
        quadrature: Quadrature,
        grids: Tensor,
        variance: Tensor,
        outliers: Outliers | None = None,
    ) -> None:
        super().__init__(quadrature, grids, variance, outliers)
        self._slices = PoseSlices.of(quadrature.slices(grids, unit=True))
        self._judging = self._slices.frequencies(slice(quadrature.n_used))
        self._sums: Tensor | None = None
        self._power = variance.new_zeros(self.n_maps, len(variance))
        self._members: list[Tensor] = []

    def posteriors(
        self, images: Observed, *, collect: bool = False, look_beyond: bool = False
    ) -> Posteriors:
        """Return the posteriors of images."""
        size = self.quadrature.images_per_block(self._n_points)
        parts = [
            self._block(images[part], collect, look_beyond)
            for part in (slice(i, i + size) for i in range(0, len(images.rows), size))
        ]
        return Posteriors.join(parts)

    @property
    def _everywhere(self) -> bool:
        """Whether every shift is computed at every pose."""
        return self.quadrature.n_points <= _FEW_POINTS

    @property
    def _n_points(self) -> int:
        """Number of points that are computed for an image."""
        quadrature = self.quadrature
        if self._everywhere:
            return self.n_maps * quadrature.n_points
        return len(self._slices) + (len(quadrature.shifts) - 1) * self.n_maps * _SHIFTED

    def _block(self, images: Observed, collect: bool, look_beyond: bool) -> Posteriors:
        quadrature, used = self.quadrature, self.quadrature.n_used
        # of all maps together
        n_poses = len(self._slices)
        signal, ctf2 = images.ctf * images.coefficients, images.ctf.square()
        precision = self._precision[:used]
        power = self._judging.power(ctf2[:, :used] * precision)
        cross = self._judging.cross(signal[:, :used] * precision)
        log_p = cross - 0.5 * power
        moved = self._moved(images, log_p, power) if quadrature.estimates_shifts else None
        prior = quadrature.log_prior(images.origins)[..., None]
        parts = [log_p + prior[:, 0]]
        if moved is not None:
            parts.append(moved.log_p + prior[:, 1:])
        weights, total = normalised_together(parts)
        by_pose = weights[0]
        mean_cross = (by_pose * cross).sum(1)
        if moved is not None:
            by_pose = by_pose + moved.at_all(weights[1].sum(1), n_poses)
            mean_cross += (weights[1] * moved.cross).sum((1, 2))
        mean_power = (by_pose * power).sum(1)
        found, cells = by_pose.topk(min(KEPT_CELLS, n_poses), 1)
        log_evidence = total - math.log(n_poses)
        scales = posterior_scale(mean_cross, mean_power, images.scales)
        classes = by_pose.unflatten(1, (self.n_maps, -1)).sum(2)
        belonging = self._belonging(images, log_evidence, scales, classes)
        if collect:
            own = images.coefficients, belonging[1], classes
            self._collect(weights, by_pose, signal, moved, ctf2, *own)
        beyond = self._with_all(signal, ctf2, moved, parts) - total if look_beyond else None
        shifts = quadrature.shifts[self._best_shifts(cells, parts, moved)]
        return Posteriors.told_by(
            images,
            precision,
            cross=mean_cross,
            power=mean_power,
            log_evidence=log_evidence,
            beyond=beyond,
            points=self._n_points,
            heaviest=(quadrature.cells_of(cells), found, shifts),
            belonging=belonging,
            classes=classes,
        )

    def _moved(self, images: Observed, log_p: Tensor, power: Tensor) -> _Moved:
        """Return the images moved by all shifts but none, and their products with slices."""
        quadrature, used = self.quadrature, self.quadrature.n_used
        centred = quadrature.model.shift(images.coefficients[:, None], quadrature.shifts[1:])
        signal = images.ctf[:, None] * centred
        weighted = signal[..., :used] * self._precision[:used]
        if self._everywhere:
            return _Moved(None, signal, self._judging.cross(weighted), power[:, None])
        # of each map: one that is worse without a shift may be better with it
        of_map = log_p.unflatten(1, (self.n_maps, -1))
        first = torch.arange(0, log_p.shape[1], of_map.shape[2], device=log_p.device)
        places = of_map.topk(min(_SHIFTED, of_map.shape[2]), 2).indices
        cells = (places + first[:, None]).flatten(1)
        cross = self._judging.at(cells).cross(weighted)
        return _Moved(cells, signal, cross, power.gather(1, cells)[:, None])

    def _with_all(
        self, signal: Tensor, ctf2: Tensor, moved: _Moved | None, log_p: list[Tensor]
    ) -> Tensor:
        """Return the logarithm of the sum at all frequencies, from that at those in use, (b,)."""
        used, rest = self.quadrature.n_used, self._precision[self.quadrature.n_used :]
        slices = self._slices.frequencies(slice(used, None))
        power = slices.power(ctf2[:, used:] * rest)
        everything = [log_p[0] + slices.cross(signal[:, used:] * rest) - 0.5 * power]
        if moved is not None:
            weighted = moved.signal[..., used:] * rest
            if moved.cells is not None:
                slices, power = slices.at(moved.cells), power.gather(1, moved.cells)
            everything.append(log_p[1] + slices.cross(weighted) - 0.5 * power[:, None])
        return torch.logsumexp(torch.cat([part.flatten(1) for part in everything], 1), 1)

    @staticmethod
    def _best_shifts(cells: Tensor, log_p: list[Tensor], moved: _Moved | None) -> Tensor:
        """Return the place of the best shift at poses (b, m), (b, m)."""
        if moved is None:
            return torch.zeros_like(cells)
        n_shifts, n_poses = log_p[1].shape[1], log_p[0].shape[1]
        if moved.cells is None:
            here, other = cells, log_p[1].gather(2, cells[:, None].expand(-1, n_shifts, -1))
        else:
            here, other = moved.cells, log_p[1]
        best = torch.cat((log_p[0].gather(1, here)[:, None], other), 1).max(1).indices
        return best if moved.cells is None else moved.at_all(best, n_poses).gather(1, cells)

    def _collect(
        self,
        weights: list[Tensor],
        by_pose: Tensor,
        signal: Tensor,
        moved: _Moved | None,
        ctf2: Tensor,
        images: Tensor,
        membership: Tensor,
        classes: Tensor,
    ) -> None:
        if self._sums is None:
            self._sums = signal.new_zeros(2, *self._slices.values.shape)
        # what belongs by half goes in by half
        by_half = membership[:, None]
        self._sums[0].addmm_(weights[0].T, by_half * signal)
        self._sums[1].addmm_(by_pose.T, by_half * ctf2)
        shares = by_half * classes
        self._power += shares.T @ images.square()
        self._members.append(shares)
        if moved is None:
            return
        values = by_half[..., None] * moved.signal
        if moved.cells is None:
            self._sums[0].addmm_(weights[1].flatten(0, 1).T, values.flatten(0, 1))
            return
        image, place = (weights[1].sum(1) > _LEAST).nonzero(as_tuple=True)
        averaged = weights[1].transpose(1, 2) @ values
        self._sums[0].index_add_(0, moved.cells[image, place], averaged[image, place])

    def collected(self) -> tuple[MapSums, ...]:
        """Return what was collected for each map."""
        assert self._sums is not None, "nothing was collected"
        shares, n = torch.cat(self._members), self.n_maps
        signal, ctf2 = (each.unflatten(0, (n, -1)) for each in self._sums)
        slices = self._slices.values.unflatten(0, (n, -1))
        return tuple(
            self._collected_for(*of_map)
            for of_map in zip(signal, ctf2, slices, self._power, shares.T, strict=True)
        )

    def _collected_for(
        self, signal: Tensor, ctf2: Tensor, slices: Tensor, power: Tensor, shares: Tensor
    ) -> MapSums:
        quadrature, weight = self.quadrature, ctf2.mean(1)
        used = weight > _NEGLIGIBLE * weight.mean()
        sums = MapSums(quadrature.model, quadrature.group)
        sums.add_averages(signal[used], ctf2[used], quadrature.unit_rotations[used])
        # a shift mixes k and −k alone: shell by shell the power is what it was
        fitted = ((ctf2 * slices - 2 * signal) * slices).sum(0)
        sums.count(power + fitted, shares)
        return sums
