"""Several structures in one stack: one principal component in 3D of what a map leaves.

A particle is taken for ``image = CTF · slice(map + z · component) + noise`` with a number z of its
own. Map and component are found from one half of the particles, and the other half says whether
the component explains anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.sums import MapSums
from napari_cryospin.engine.state.problem import evenly_spread

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.state.problem import Problem

# frequency radius, particles of each half, starts and steps of the search
_RADIUS, _PARTICLES, _STARTS, _STEPS = 10, 750, 3, 12
_PART = 250
_TINY = 1e-9


@dataclass(frozen=True)
class Variability:
    """How particles differ from their map along one component.

    Parameters
    ----------
    gain
        Log-likelihood that the component gains on particles that it was not found from, mean, nats.
    rows
        Those particles, (m,).
    places
        Where each lies along the component, with the spread of all as unit, (m,).
    component
        Hartley grid of the component, (D+1)³.
    """

    gain: float
    rows: Tensor
    places: Tensor
    component: Tensor

    @property
    def humps(self) -> Humps:
        """The places as two humps."""
        return two_humps(self.places.double().cpu().numpy())


@dataclass(frozen=True)
class Humps:
    """Two normal distributions that describe numbers.

    Parameters
    ----------
    shares
        Share of each, the larger one first.
    apart
        Distance of their means over their root-mean-square width: above 2 there are two humps.
    """

    shares: tuple[float, float]
    apart: float


@dataclass(frozen=True)
class _Left:
    """What a half-map leaves of m particles, in units of the noise."""

    rows: Tensor
    rotations: Tensor
    # moved to the centre
    residual: Tensor
    ctf: Tensor


@torch.no_grad()
def variability(problem: Problem, halves: HalfMaps, seed: int) -> Variability:
    """Return the component along which particles differ most from the map.

    Parameters
    ----------
    problem
        Particles and poses.
    halves
        The half-maps.
    seed
        Seed of the random starts.
    """
    particles = problem.particles
    model = ImageModel.within(particles.box, min(_RADIUS, particles.box // 2 - 1), problem.device)
    one, two = halves.grids
    learning, test = (
        _left(problem, model, evenly_spread(rows, _PARTICLES), grid)
        for rows, grid in zip(halves.rows, (two, one), strict=True)
    )
    random = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(_STARTS):
        places = torch.randn(len(learning.rows), generator=random).to(problem.device)
        component = _component(model, learning, places, torch.ones_like(places))
        for _ in range(_STEPS):
            places, spread, gain = _places(model, learning, component)
            component = _component(model, learning, places, places.square() + spread)
        found.append((float(gain.mean()), component))
    component = max(found, key=lambda each: each[0])[1]
    places, spread, gain = _places(model, test, component)
    # as the images alone have it, without the prior
    return Variability(
        float(gain.mean()), test.rows, places / (1 - spread).clamp(min=1e-3), component
    )


def _left(problem: Problem, model: ImageModel, rows: Tensor, grid: Tensor) -> _Left:
    """Return what a map leaves of particles ``rows`` (m,)."""
    rotations, seen = problem.poses.rotations[rows], problem.observed(rows, model)
    observed, ctf = seen.coefficients, seen.ctf
    predicted = ctf * model.project(slicer(grid), Poses.centred(rotations))
    fits = (observed * predicted).sum(1) / predicted.square().sum(1).clamp(min=_TINY)
    ctf = ctf * fits.clamp(0.2, 3)[:, None]
    residual = observed - predicted * fits.clamp(0.2, 3)[:, None]
    noise = NoiseSpectrum.of_residuals(
        residual.square().mean(0), model, problem.particles.mask_power
    )
    deviation = noise.deviation(model)
    return _Left(rows, rotations, residual / deviation, ctf / deviation)


def _places(model: ImageModel, left: _Left, component: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance of each particle's place, and the gain, (m,) each."""
    parts = zip(
        *(each.split(_PART) for each in (left.rotations, left.residual, left.ctf)), strict=True
    )
    cross, power = [], []
    along = slicer(component)
    for rotations, residual, ctf in parts:
        predicted = ctf * model.project(along, Poses.centred(rotations))
        cross.append((predicted * residual).sum(1))
        power.append(predicted.square().sum(1))
    precision = 1 + torch.cat(power)
    mean = torch.cat(cross) / precision
    gain = 0.5 * (torch.cat(cross) * mean - precision.log())
    return mean, 1 / precision, gain


def _component(model: ImageModel, left: _Left, places: Tensor, squares: Tensor) -> Tensor:
    """Return the component from the places of particles and their mean squares, (m,) each."""
    sums = MapSums(model)
    sums.add_averages(
        places[:, None] * left.ctf * left.residual,
        squares[:, None] * left.ctf.square(),
        left.rotations,
    )
    return divide(sums.inserted)


def two_humps(values: NDArray[np.float64], steps: int = 100) -> Humps:
    """Return the two normal distributions that describe numbers (m,) best.

    From three divisions of the numbers in order, by expectation maximisation.
    """
    ordered = np.sort(values)
    found = []
    for share in (0.25, 0.5, 0.75):
        part = np.array_split(ordered, [max(round(share * len(ordered)), 1)])
        means = np.array([each.mean() for each in part])
        widths = np.full(2, max(ordered.std(), _TINY) / 2)
        weights = np.array([share, 1 - share])
        log_p = np.zeros(len(ordered))
        for _ in range(steps):
            exponent = -0.5 * ((ordered[:, None] - means) / widths) ** 2
            log_parts = exponent + np.log(weights / (widths * math.sqrt(2 * math.pi)))
            log_p = np.logaddexp(*log_parts.T)
            belongs = np.exp(log_parts - log_p[:, None])
            counts = belongs.sum(0) + _TINY
            weights = counts / counts.sum()
            means = (belongs * ordered[:, None]).sum(0) / counts
            squares = (belongs * (ordered[:, None] - means) ** 2).sum(0) / counts
            # a hump as narrow as a single number is none
            widths = np.sqrt(np.maximum(squares, 1e-2 * ordered.var() + _TINY))
        found.append((log_p.sum(), means, widths, weights))
    _, means, widths, weights = max(found, key=lambda each: each[0])
    large, small = sorted(map(float, weights), reverse=True)
    return Humps((large, small), float(abs(np.diff(means)[0]) / np.sqrt((widths**2).mean())))
