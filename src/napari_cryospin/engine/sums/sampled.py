"""Posteriors by importance sampling: only poses that matter are computed.

After Brubaker, Punjani and Fleet, "Building Proteins in a Day" (CVPR 2015): a particle's previous
posterior, spread over neighbouring poses by a Fisher kernel and mixed with a uniform share,
proposes the poses of the next sum. Every one is computed at every shift around the present one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.sums import MapSums
from napari_cryospin.engine.sums.posteriors import (
    KEPT_CELLS,
    PoseSum,
    Posteriors,
    posterior_scale,
)
from napari_cryospin.engine.sums.products import PoseSlices
from napari_cryospin.engine.sums.proposals import effective_samples, propose_poses
from napari_cryospin.engine.sums.quadrature import split_cells
from napari_cryospin.engine.sums.weights import normalised

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.sums.membership import Outliers
    from napari_cryospin.engine.sums.previous import Memory
    from napari_cryospin.engine.sums.proposals import SamplingOptions
    from napari_cryospin.engine.sums.quadrature import Quadrature

# samples at least
_FEWEST = 32
# times as many for every level that the previous posterior was coarser
_FINER = 16
# about so many samples of a particle go into the map: all heavy ones, and a few that stand for the
# others
_INSERTED = 128
# floats of the slices of one block
_BLOCK = 16_000_000


class SampledSum(PoseSum):
    """A sum over sampled points of a quadrature.

    Parameters
    ----------
    quadrature, grids, variance, outliers
        As for every sum.
    memory
        Previous posteriors.
    options
        How points are proposed.
    generator
        Source of the samples.
    """

    def __init__(
        self,
        quadrature: Quadrature,
        grids: Tensor,
        variance: Tensor,
        memory: Memory,
        options: SamplingOptions,
        generator: torch.Generator,
        outliers: Outliers | None = None,
    ) -> None:
        super().__init__(quadrature, grids, variance, outliers)
        self._maps, self._memory = [slicer(grid) for grid in self._grids], memory
        self._options, self._generator = options, generator
        kept = quadrature.keeps_slices
        self._table = quadrature.slices(self._grids) if kept else None
        self._sums = tuple(MapSums(quadrature.model, quadrature.group) for _ in self._maps)

    def posteriors(
        self, images: Observed, *, collect: bool = False, look_beyond: bool = False
    ) -> Posteriors:
        """Return the posteriors of images, whose previous posteriors are remembered."""
        found: list[Posteriors] = []
        places: list[Tensor] = []
        n_poses, n_shifts = self._sample_sizes(images.rows), len(self.quadrature.shifts)
        sizes = torch.stack((n_poses, self._memory.nside[images.rows]), 1)
        for size in sizes.unique(dim=0):
            alike = (sizes == size).all(1).nonzero().flatten()
            poses = int(size[0])
            per_image = poses * (len(self._precision) + n_shifts)
            for part in alike.split(max(1, _BLOCK // per_image)):
                found.append(self._block(images[part], poses, collect, look_beyond))
                places.append(part)
        joined = Posteriors.join(found)
        return joined.rows(torch.cat(places).argsort())

    def collected(self) -> tuple[MapSums, ...]:
        """Return what was collected for each map."""
        return self._sums

    def share(self, rows: Tensor) -> float:
        """Return the share of all points that particles ``rows`` (b,) would have computed."""
        return float(self._sample_sizes(rows).float().mean()) / self._n_cells

    @property
    def _n_cells(self) -> int:
        """Number of cells of all maps."""
        return self.n_maps * len(self.quadrature.rotations)

    def _sample_sizes(self, rows: Tensor) -> Tensor:
        """Return the number of poses that are sampled for each particle, powers of two."""
        memory, quadrature, options = self._memory, self.quadrature, self._options
        # a coarser posterior says less of where the finer one is than its own width does
        levels = (quadrature.nside / memory.nside[rows]).log2()
        finer = _FINER**levels
        temperature = options.temperature
        poses = options.factor * finer * effective_samples(memory.weights[rows], temperature)
        return _power_of_two(poses, _FEWEST, self._n_cells)

    def _block(
        self, images: Observed, n_poses: int, collect: bool, look_beyond: bool
    ) -> Posteriors:
        quadrature, memory, draw = self.quadrature, self._memory, self._generator
        rows, used = images.rows, quadrature.n_used
        poses = propose_poses(
            memory, rows, quadrature.nside, n_poses, self._options, draw, self.n_maps
        )
        slices = PoseSlices.of(self._slices(poses.points))
        centred = quadrature.moved(images.coefficients)
        signal = images.ctf[:, None] * centred
        ctf2 = images.ctf.square()
        precision = self._precision[:used]
        judging = slices.frequencies(slice(used))
        cross = judging.cross(signal[..., :used] * precision)
        power = judging.power(ctf2[:, :used] * precision)
        # each sample stands for 1/q poses
        log_p = cross - 0.5 * power[:, None] + quadrature.log_prior(images.origins)[..., None]
        weighted = log_p - poses.log_q[:, None]
        weights, total = normalised(weighted)
        by_pose = weights.sum(1)
        mean_cross = torch.einsum("bsj,bsj->b", weights, cross)
        mean_power = (by_pose * power).sum(1)
        log_evidence = total - math.log(n_poses) - math.log(self._n_cells)
        scales = posterior_scale(mean_cross, mean_power, images.scales)
        maps, _ = split_cells(poses.points, quadrature.nside)
        classes = by_pose.new_zeros(len(by_pose), self.n_maps).scatter_add_(1, maps, by_pose)
        belonging = self._belonging(images, log_evidence, scales, classes)
        if collect:
            own = images.coefficients, belonging[1], classes
            self._collect(weights, poses.points, slices, signal, ctf2, *own)
        best_shift = quadrature.shifts[log_p.max(1).indices]
        beyond = None
        if look_beyond:
            rest, more = self._precision[used:], slices.frequencies(slice(used, None))
            power = more.power(ctf2[:, used:] * rest)
            weighted += more.cross(signal[..., used:] * rest) - 0.5 * power[:, None]
            beyond = torch.logsumexp(weighted.flatten(1), 1) - total
        return Posteriors.told_by(
            images,
            precision,
            cross=mean_cross,
            power=mean_power,
            log_evidence=log_evidence,
            beyond=beyond,
            points=n_poses * centred.shape[1],
            heaviest=_heaviest(poses.points, by_pose, best_shift),
            belonging=belonging,
            classes=classes,
        )

    def _slices(self, cells: Tensor) -> Tensor:
        """Return the slices at cells (b, m), (b, m, K)."""
        if self._table is not None:
            return self._table[cells]
        unique, place = cells.unique(return_inverse=True)
        maps, own = split_cells(unique, self.quadrature.nside)
        rotations, frequencies = self.quadrature.rotations[own], self.quadrature.model.frequencies
        # ascending, so that each map's are together
        parts = rotations.split(torch.bincount(maps, minlength=self.n_maps).tolist())
        found = [
            of_map.slices(part, frequencies)
            for of_map, part in zip(self._maps, parts, strict=True)
            if len(part)
        ]
        return torch.cat(found)[place]

    def _collect(
        self,
        weights: Tensor,
        cells: Tensor,
        slices: PoseSlices,
        signal: Tensor,
        ctf2: Tensor,
        images: Tensor,
        membership: Tensor,
        classes: Tensor,
    ) -> None:
        by_pose = weights.sum(1)
        # a light sample is kept with a probability, and then counts as if it were heavier: none of
        # the weight is lost on average, however broad the posterior
        least = 1 / _INSERTED
        draw = torch.rand(by_pose.shape, generator=self._generator, device=by_pose.device)
        image, sample = (by_pose > least * draw).nonzero(as_tuple=True)
        own = by_pose[image, sample, None]
        factor = membership[image, None] * own.clamp(min=least) / own
        averaged = (weights.transpose(1, 2) @ signal)[image, sample]
        values, heavy = factor * averaged, factor * own * ctf2[image]
        known = slices.values[image, sample]
        fitted = (heavy * known - 2 * values) * known
        maps, poses = split_cells(cells[image, sample], self.quadrature.nside)
        for n, sums in enumerate(self._sums):
            here = maps == n
            rotations = self.quadrature.rotations[poses[here]]
            sums.add_averages(values[here], heavy[here], rotations)
            share = membership * classes[:, n]
            sums.count(share @ images.square() + fitted[here].sum(0), share)


def _power_of_two(wanted: Tensor, least: int, most: int) -> Tensor:
    """Return the next powers of two, for images of one size are computed together."""
    sizes = 2 ** wanted.clamp(min=1).log2().ceil()
    return sizes.clamp(min=min(least, most), max=most).long()


def _heaviest(cells: Tensor, weights: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the heaviest cells, their weights and shifts from samples (b, m), some equal."""
    cells, order = cells.sort(1)
    weights = weights.gather(1, order)
    new = torch.ones_like(cells)
    new[:, 1:] = (cells[:, 1:] != cells[:, :-1]).long()
    place = new.cumsum(1) - 1
    totals = torch.zeros_like(weights).scatter_add_(1, place, weights)
    first = torch.zeros_like(cells).scatter_(1, place, cells)
    moved = shifts.gather(1, order[..., None].expand(-1, -1, 2))
    own = torch.zeros_like(moved).scatter_(1, place[..., None].expand(-1, -1, 2), moved)
    found, best = totals.topk(min(KEPT_CELLS, totals.shape[1]), 1)
    result = torch.zeros(len(cells), KEPT_CELLS, dtype=torch.long, device=cells.device)
    heavy = torch.zeros(len(cells), KEPT_CELLS, device=cells.device)
    at = torch.zeros(len(cells), KEPT_CELLS, 2, device=cells.device)
    result[:, : best.shape[1]] = first.gather(1, best)
    heavy[:, : best.shape[1]] = found
    at[:, : best.shape[1]] = own.gather(1, best[..., None].expand(-1, -1, 2))
    return result, heavy, at
