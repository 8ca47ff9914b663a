"""What the candidates of particles come to: refined, weighed, and compared with the map."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.asking import ROUNDS, Measure, ask
from napari_cryospin.engine.inference.candidates import have_several_modes
from napari_cryospin.engine.judging.particle_fit import ParticleFit, gains_of
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.refining.candidate_modes import APART, distinct
from napari_cryospin.engine.sums.posteriors import posterior_scale

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.run.inferring import Teachings

# modes of a particle that are refined, and how far behind the best one they may be, nats
MODES, _BEHIND = 3, 30.0


@dataclass(frozen=True)
class Inferred:
    """What is inferred of n particles; tensors on the CPU.

    Parameters
    ----------
    poses
        Their poses, (n,); shifts in working pixels.
    weights
        Weight of each pose among its rivals, (n,).
    scales
        What the map is multiplied with to fit each, (n,); ones where scales are not estimated.
    fit
        How well the map fits each at its pose.
    membership
        Probability that each image shows the particle, (n,); None where outliers are not looked
        for, or the images are too few to tell them.
    """

    poses: Poses
    weights: Tensor
    scales: Tensor
    fit: ParticleFit
    membership: Tensor | None = None


@dataclass(frozen=True)
class Told:
    """What is found of particles so far, and how much of each image is left unexplained, (n,).

    ``several`` says which had candidates of several modes, bool, (n,).
    """

    poses: Poses
    weights: Tensor
    scales: Tensor
    gains: Tensor
    powers: Tensor
    errors: Tensor
    several: Tensor

    @classmethod
    def join(cls, parts: list[Told]) -> Self:
        """Return what is told of all parts as one."""
        others = [
            torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)[1:]
        ]
        return cls(Poses.join([part.poses for part in parts]), *others)

    def improve(self, rows: Tensor, other: Told) -> None:
        """Take over what is found of particles ``rows`` (m,) where it fits better."""
        better = other.errors < self.errors[rows]
        rows = rows[better]
        for own, new in zip(vars(self.poses).values(), vars(other.poses).values(), strict=True):
            if own is not None:
                own[rows] = new[better]
        for field in fields(self)[1:]:
            getattr(self, field.name)[rows] = getattr(other, field.name)[better]

    def inferred(self, particles: Particles) -> Inferred:
        """Return what is inferred in the end, on the CPU."""
        fit = ParticleFit.told_by(self.gains.T, self.powers, particles)
        poses = self.poses.to(torch.device("cpu"))
        fit = ParticleFit(fit.log_likelihood.cpu(), fit.explained.cpu())
        return Inferred(poses, self.weights.cpu(), self.scales.cpu(), fit)


class Answers:
    """Answers of a part of the particles."""

    def __init__(self, known: Teachings, particles: Particles, *, refine: bool) -> None:
        box, device, noise = particles.box, particles.device, known.noise
        self._known, self._particles, self._refine = known, particles, refine
        coarse = ImageModel.within(box, known.saved.radius, device)
        self._measure = Measure(coarse, known.slicer, noise, len(known.maps))
        self._fine = ImageModel.within(box, box / 2, device)
        self._deviation = noise.deviation(self._fine)

    def first(self, rows: Tensor, origins: Tensor, spread: float | None) -> Told:
        """Return what the encoder's candidates come to."""
        images = self._particles.images(rows)
        asked = ask(
            self._known.encoder,
            self._particles,
            rows,
            self._measure,
            scales=torch.ones(len(rows), device=rows.device),
            origins=origins,
            spread=spread,
            rounds=ROUNDS,
            images=images,
        )
        return self._told(rows, images, asked.candidates, asked.errors)

    def again(self, rows: Tensor, candidates: Poses, errors: Tensor) -> Told:
        """Return what other candidates come to, (b, n) poses with their errors."""
        return self._told(rows, self._particles.images(rows), candidates, errors)

    def _told(self, rows: Tensor, images: Tensor, candidates: Poses, errors: Tensor) -> Told:
        model, precision = self._fine, self._deviation**-2
        seen = self._particles.observed(rows, model, images=images)
        if self._refine:
            poses, weights = self._refined(candidates, errors, seen)
        else:
            poses, weights = _chosen(candidates, errors, self._size)
        predicted = seen.ctf * model.project(self._known.slicer, poses)
        scales = torch.ones_like(weights)
        if self._known.saved.scales:
            cross = (predicted * seen.coefficients) @ precision
            scales = posterior_scale(cross, predicted.square() @ precision, scales)
        filtered = self._particles.weights(rows, model)
        gains = gains_of(seen.coefficients, predicted * scales[:, None], precision, filtered)
        left = seen.coefficients.square() @ precision - 2 * gains[0]
        powers = images.square().sum((1, 2))
        several = have_several_modes(
            candidates.rotations, errors.nan_to_num(nan=torch.inf), self._size
        )
        left /= len(precision)
        return Told(poses, weights, scales, gains.T, powers, left, several)

    @property
    def _size(self) -> int:
        """Number of coefficients that candidates are compared by."""
        return len(self._measure.model.frequencies)

    def _refined(self, candidates: Poses, errors: Tensor, seen: Observed) -> tuple[Poses, Tensor]:
        """Refine the best candidates of each mode; return the best of them, and its weight."""
        places = distinct(candidates.rotations, errors, MODES)
        best = errors.gather(1, places.clamp(min=0))
        behind = 0.5 * self._size * (best - best[:, :1])
        image, mode = ((places >= 0) & (behind < _BEHIND)).nonzero(as_tuple=True)
        aligned = Alignment(
            self._fine,
            self._known.slicer,
            seen.over(self._deviation),
            numbers=image,
            shifted=self._known.saved.shifts,
        )
        refined = aligned.refine(candidates[image, places[image, mode]])
        log_p = torch.full_like(best, -torch.inf)
        log_p[image, mode] = -0.5 * len(self._fine.frequencies) * refined.errors
        number = torch.zeros_like(places)
        number[image, mode] = torch.arange(len(image), device=image.device)
        winner = log_p.argmax(1)
        poses = refined.poses[number.gather(1, winner[:, None])[:, 0]]
        # two candidates may have come to the same place
        same = angular_distance(refined.poses.rotations[number], poses.rotations[:, None]) < APART
        same.scatter_(1, winner[:, None], False)
        return poses, log_p.masked_fill(same, -torch.inf).softmax(1).amax(1)


def _chosen(candidates: Poses, errors: Tensor, size: int) -> tuple[Poses, Tensor]:
    """Return the best candidates, and the weights of all candidates around them."""
    winner = errors.argmin(1)
    poses = candidates[torch.arange(len(winner), device=winner.device), winner]
    weights = (-0.5 * size * errors).softmax(1)
    near = angular_distance(candidates.rotations, poses.rotations[:, None]) < APART
    return poses, (weights * near).sum(1)
