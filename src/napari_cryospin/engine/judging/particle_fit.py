"""How well a map fits each particle at its pose: log-likelihood, and share of power explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from napari_cryospin.engine.kernels import slicer_of
from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.state.problem import Problem

# coefficients of one block of particles: a few arrays of so many are held at once
_BLOCK = 1_000_000


@dataclass(frozen=True)
class ParticleFit:
    """How well a map fits n particles, Y, by their projections P: CTF and scale are in P.

    Parameters
    ----------
    log_likelihood
        ``½ Σ (|Y|² − |Y − P|²) / σ²`` over the frequencies that poses are judged by, with the noise
        σ² of each: the log-likelihood of the particle at its pose less that without a map, nats,
        (n,). NaN where the particle has no pose yet.
    explained
        ``Σ (|Y|² − |Y − P|²)`` over ``Σ |Y|²`` less what the noise holds of it: the share of the
        image's power beyond the noise that the map explains, (n,). The noise's power is that of the
        background, of unit variance in a pixel, so that neither its colour nor the map matters. By
        chance it may be above 1 or below 0; NaN where the image holds no more power than noise may
        hold by chance, and where the particle has no pose yet.
    """

    log_likelihood: Tensor
    explained: Tensor

    @classmethod
    def unknown(cls, n: int, device: torch.device) -> Self:
        """Return what is known before anything was measured."""
        return cls(*torch.full((2, n), torch.nan, device=device))

    @classmethod
    @torch.no_grad()
    def measured(cls, problem: Problem, radius: float, noise: NoiseSpectrum) -> Self:
        """Return how the present map fits all particles at their present poses.

        Parameters
        ----------
        problem
            Particles, map and poses.
        radius
            Frequency radius that poses are judged by, in units of 1/box.
        noise
            Noise of the images.
        """
        particles, poses, device = problem.particles, problem.poses, problem.device
        model, present = (
            ImageModel.within(particles.box, radius, device),
            slicer_of(problem.grids),
        )
        precision = noise.deviation(model) ** -2
        gains: list[Tensor] = []
        powers: list[Tensor] = []
        rows = poses.losses.isfinite().nonzero().flatten()
        measured = cls.unknown(particles.n, device)
        if not len(rows):
            return measured
        for part in rows.split(max(1, _BLOCK // particles.box**2)):
            projected = model.project(present, poses.at(part))
            images = particles.images(part)
            observed = particles.observed(part, model, scales=poses.scales[part], images=images)
            predicted, weights = projected * observed.ctf, particles.weights(part, model)
            gains.append(gains_of(observed.coefficients, predicted, precision, weights))
            powers.append(images.square().sum((1, 2)))
        found = cls.told_by(torch.cat(gains, 1), torch.cat(powers), particles)
        measured.log_likelihood[rows] = found.log_likelihood
        measured.explained[rows] = found.explained
        return measured

    @classmethod
    def told_by(cls, gains: Tensor, powers: Tensor, particles: Particles) -> Self:
        """Return the fit of n images of such particles.

        Parameters
        ----------
        gains
            What :func:`gains_of` returns of them, (2, n).
        powers
            Sums of squares of their pixels, (n,).
        particles
            The particles: their mask, and their box.
        """
        # an image's power under noise alone: its mean, and its deviation by chance
        expected = particles.mask_power * particles.box**2
        excess = powers - expected
        log_likelihood, explained = gains
        tells = excess > (2 * expected) ** 0.5
        return cls(log_likelihood, (explained / excess).where(tells, torch.nan))


def gains_of(
    coefficients: Tensor, predicted: Tensor, precision: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return what predictions gain, in nats and in power: numerators of the two figures, (2, b).

    Parameters
    ----------
    coefficients, predicted
        Images, and projections with CTF and scale, (b, K).
    precision
        One over the variance of the noise, (K,).
    weights
        What both were multiplied with for the sake of the noise, (b, K): power is told without.
    """
    gain = predicted * (2 * coefficients - predicted)
    power = gain if weights is None else gain / weights.square()
    return torch.stack(((gain @ precision) / 2, power.sum(1)))
