"""A look at all shifts that particles may have, once the map shows the structure.

Shifts are followed step by step around the present ones; a particle that began too far from its
own finds its way no more. So one look is made at low frequency, over all poses and over all
shifts, and what it finds is weighed against the present shift at the frequencies in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.models.noise import shells_of
from napari_cryospin.engine.sums.centring import shift_log_prior, spread_of
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.products import PoseSlices
from napari_cryospin.engine.sums.quadrature import Quadrature, shift_grid

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.state.problem import Problem

# frequency radius of the look, and that by which shifts are weighed; log-probabilities at a time
_RADIUS, _WEIGHED, _BLOCK = 4, 8, 16_000_000
# how far it goes, in standard deviations of the shifts, and in steps at least
_SPREADS, _LEAST_STEPS = 4.0, 2.0
# another shift is weighed where low frequencies do not speak against it by more than this, nats
_NOT_AGAINST = 10.0
# so many others are weighed, none of them nearer than this, in steps
_OTHERS, _NEAR = 3, 0.5


class WideLook:
    """Finds particles whose shift is a wholly other one than the present.

    Parameters
    ----------
    problem
        Particles, map and poses; shifts are estimated.
    noise
        Noise of the images.
    """

    def __init__(self, problem: Problem, noise: NoiseSpectrum) -> None:
        self._problem = problem
        box, device = problem.particles.box, problem.device
        grids = problem.grids
        radius, weighed = (min(one, box // 2 - 1) for one in (_RADIUS, _WEIGHED))
        spread = spread_of(problem)
        assert spread is not None, "shifts are known"
        self._spread = spread
        self._step = box / (4 * radius)
        reach = max(_SPREADS * self._spread, _LEAST_STEPS * self._step)
        self._shifts = shift_grid(reach, self._step, device)
        group = problem.group
        coarse = self._coarse = Quadrature.at(box, radius, radius, device=device, group=group)
        self._slices = PoseSlices.of(coarse.slices(grids, unit=True))
        self._precision = 1 / noise.variance[shells_of(coarse.model)]
        fine = self._fine = Quadrature.at(
            box, weighed, weighed, spread=self._spread, device=device, group=group
        )
        self._sum = ExactSum(fine, grids, noise.variance[shells_of(fine.model)])

    @torch.no_grad()
    def origins(self, rows: Tensor) -> Tensor:
        """Return origin shifts of particles, the present ones or better ones, pixels, (m, 2)."""
        images = self._problem.observed(rows, self._fine.model)
        others, against = self._others(rows)
        best, origins = self._weighed(images)
        for place in range(_OTHERS):
            some = (against[:, place] < _NOT_AGAINST).nonzero().flatten()
            if not len(some):
                continue
            there = images[some].at(self._fine.model, others[some, place])
            evidence, moved = self._weighed(there)
            better = evidence > best[some]
            best[some[better]], origins[some[better]] = evidence[better], moved[better]
        return origins

    def _weighed(self, images: Observed) -> tuple[Tensor, Tensor]:
        """Return the log-evidence of images around their origins, and the best shift there."""
        found = self._sum.posteriors(images)
        return found.log_evidence, images.origins + found.cell_shifts[:, 0]

    def _others(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return each particle's best shifts besides the present one, at low frequency.

        Returns
        -------
        tuple
            Shifts, pixels, (m, C, 2), and what all poses together say against them, nats, (m, C).
        """
        found = [self._others_of(part) for part in rows.split(self._rows_at_a_time)]
        shifts, against = zip(*found, strict=True)
        return torch.cat(shifts), torch.cat(against)

    @property
    def _rows_at_a_time(self) -> int:
        return max(1, _BLOCK // (len(self._shifts) * len(self._slices)))

    def _others_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        particles, poses, model = self._problem.particles, self._problem.poses, self._coarse.model
        seen = particles.observed(rows, model, scales=poses.scales[rows])
        moved = model.shift(seen.coefficients[:, None], self._shifts)
        power = self._slices.power(seen.ctf.square() * self._precision)
        cross = self._slices.cross(seen.ctf[:, None] * moved * self._precision)
        log_p = cross - 0.5 * power[:, None]
        prior = shift_log_prior(self._shifts, self._spread, self._step)
        evidence = torch.logsumexp(log_p, 2) + prior
        near = torch.cdist(poses.shifts[rows], self._shifts) < _NEAR * self._step
        best, place = evidence.masked_fill(near, -torch.inf).topk(_OTHERS, 1)
        return self._shifts[place], evidence.amax(1, keepdim=True) - best
