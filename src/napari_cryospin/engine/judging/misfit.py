"""Local misfit: what a map leaves unexplained of the particles' signal, where the signal is.

Noise is everywhere in an image, the particle is not. What remains of images once the map has
explained what it can is compared, pixel by pixel, with what it does explain: noise of any colour
is the same in every pixel, and what rises with the signal is signal that the map does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.normalise import soft_mask
from napari_cryospin.engine.evaluation.fsc import fsc
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import shells_of
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.state.problem import evenly_spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.state.problem import Problem

# particles of each half that are looked at, and so many at a time
_PARTICLES, _PART = 1500, 250
# shells count where the half-maps agree, and the signal is no less than this share of the noise
_LEAST_FSC, _LEAST_SIGNAL = 0.5, 0.03
# share of the images that is left out as the worst; of the worst, and of the best, that are not
# usual ones
_WORST, _UNUSUAL = 0.3, 0.1
# an image is an outlier where its fit is so many deviations below the median; the deviation is the
# median one times what makes it a normal distribution's, and the limit lies between these two
_DEVIATIONS, _NORMAL, _LIMITS = 3.0, 1.48, (0.5, 0.8)
# scales of images, at least and at most
_SCALES = (0.2, 3.0)
_TINY = 1e-9


@dataclass(frozen=True)
class Misfit:
    """What a map leaves unexplained of m particles.

    Parameters
    ----------
    value
        Unexplained over explained power of the signal; about 0 where the map explains it all.
    without_worst
        The same without the images that fit worst, three in ten.
    rows
        The particles, (m,).
    fits
        How much of the map each image holds, ⟨image, prediction⟩ / ⟨prediction, prediction⟩, (m,):
        1 on average.
    unexplained
        Power that each image has beyond the noise and the map, over what the map explains of an
        average one, (m,).
    """

    value: float
    without_worst: float
    rows: Tensor
    fits: Tensor
    unexplained: Tensor

    @property
    def explained(self) -> float:
        """Share of the signal that the map explains."""
        return 1 / (1 + max(self.value, 0.0))

    @property
    def typical(self) -> float:
        """The misfit of usual images: the mean without the worst and the best tenth of them."""
        n, ordered = len(self.unexplained), self.unexplained.sort().values
        left_out = int(_UNUSUAL * n)
        return float(ordered[left_out : n - left_out].mean())

    @property
    def outlying(self) -> Tensor:
        """Which of the images hold far less of the map than the others do, (m,)."""
        median = self.fits.median()
        deviation = _NORMAL * (self.fits - median).abs().median()
        return self.fits < (median - _DEVIATIONS * deviation).clamp(*_LIMITS)

    @property
    def outliers(self) -> float:
        """Share of those images."""
        return float(self.outlying.float().mean())


@torch.no_grad()
def local_misfit(
    problem: Problem, halves: HalfMaps, across: float, also: Tensor | None = None
) -> Misfit | None:
    """Return what is left unexplained of the particles at their present poses.

    Every particle is predicted from the half-map that it is not in, with one factor for each
    frequency shell and one for each image.

    Parameters
    ----------
    problem
        Particles and poses.
    halves
        The half-maps.
    across
        Diameter of the circle that holds the particle, pixels: what lies outside it is masked.
    also
        Rows of particles that are to be looked at whatever the number of others.

    Returns
    -------
    Misfit or None
        None where the half-maps have nothing in common.
    """
    particles = problem.particles
    model = ImageModel.within(particles.box, particles.box / 2, problem.device)
    predictions = Predictions(problem, halves, model, also)
    factors = _shell_factors(predictions, halves)
    if factors is None:
        return None
    mask = soft_mask(particles.box, across).to(problem.device)
    inside = (mask > 1 - 1e-3).flatten()
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for rows, observed, other, own in predictions:
        observed, other = observed * (factors > 0), other * factors
        power = other.square().sum(1)
        fits = (observed * other).sum(1) / power.clamp(min=_TINY)
        scales = fits.clamp(*_SCALES)[:, None]
        residual, signal = (
            model.images(values).flatten(1)[:, inside]
            for values in (observed - scales * other, scales * other)
        )
        again = model.images(scales * own * factors).flatten(1)[:, inside]
        found.append((rows, fits, residual.square(), signal * again))
    rows, fits, residual, signal = (torch.cat(parts) for parts in zip(*found, strict=True))
    value = _slope(signal.mean(0), residual.mean(0))
    pattern = signal.mean(0) - signal.mean()
    unexplained = residual @ pattern / pattern.square().sum().clamp(min=_TINY)
    kept = unexplained.argsort()[: max(round((1 - _WORST) * len(rows)), 1)]
    best = _slope(signal[kept].mean(0), residual[kept].mean(0))
    return Misfit(value, best, rows, fits, unexplained)


class Predictions:
    """Particles of two halves with what the half-maps say of them, part by part.

    An item is the rows (b,) of some particles, their coefficients, and their predictions from the
    half-map that they are not in, and from their own, (b, K) each.

    Parameters
    ----------
    problem
        Particles and poses.
    halves
        The half-maps.
    model
        Image model of the frequencies in use, K of them.
    also
        Rows that are to be among the particles, which are evenly spread otherwise.
    """

    def __init__(
        self, problem: Problem, halves: HalfMaps, model: ImageModel, also: Tensor | None
    ) -> None:
        self.problem, self.model, self.maps = (
            problem,
            model,
            [slicer(grid) for grid in halves.grids],
        )
        self._rows = []
        for rows in halves.rows:
            chosen = evenly_spread(rows, _PARTICLES)
            more = rows[:0] if also is None else rows[torch.isin(rows, also)]
            self._rows.append(torch.cat((chosen, more)).unique())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        particles, poses, model = self.problem.particles, self.problem.poses, self.model
        for half, all_rows in enumerate(self._rows):
            for rows in all_rows.split(_PART):
                seen = particles.observed(rows, model, scales=poses.scales[rows])
                other, own = (
                    seen.ctf * model.project(each, poses.at(rows))
                    for each in (self.maps[1 - half], self.maps[half])
                )
                yield rows, seen.coefficients, other, own


def _shell_factors(predictions: Predictions, halves: HalfMaps) -> Tensor | None:
    """Return what predictions are multiplied with at every frequency, (K,); 0 where they tell none.

    None where that is so everywhere.
    """
    model = predictions.model
    shells = shells_of(model)
    n_shells = int(shells.max()) + 1
    sums = torch.zeros(4, n_shells, device=shells.device)
    n = 0
    for rows, observed, other, own in predictions:
        n += len(rows)
        products = (observed * other, other.square(), other * own, observed.square())
        sums.index_add_(1, shells, torch.stack([each.sum(0) for each in products]))
    cross, power, signal, total = sums / max(n, 1)
    curve = fsc(*(map_of_grid(grid).cpu().numpy() for grid in halves.grids))
    agree = torch.from_numpy(curve[:n_shells]).to(shells.device) > _LEAST_FSC
    noise = total - cross.square() / power.clamp(min=_TINY)
    used = agree & (signal > _LEAST_SIGNAL * noise) & (cross > 0)
    factors = torch.where(used, cross / power.clamp(min=_TINY), 0)[shells]
    return factors if bool(used.any()) else None


def _slope(signal: Tensor, residual: Tensor) -> float:
    """Return the slope of the residual's power over the signal's, both by pixel, (P,)."""
    signal, residual = signal.double(), residual.double()
    deviation = signal - signal.mean()
    return float((deviation * residual).sum() / deviation.square().sum().clamp(min=_TINY))
