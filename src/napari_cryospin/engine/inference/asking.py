"""Asking an encoder about particles, which it need not have seen before: centred first, in rounds.

The encoder looks at centred images. Where shifts are estimated and a particle is new, it is asked,
the image is moved over the best of its proposals, and it is asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.kernels import slicer_of
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.refining.candidate_modes import distinct
from napari_cryospin.engine.sums.centring import (
    cross_products,
    pixel_shifts,
    shift_log_prior,
    turned_products,
)

if TYPE_CHECKING:
    from typing import Literal, Self

    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.models.encoders.interface import Encoder
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.state.problem import Problem

# rounds of centring of particles that nothing is known of; in the first one so many modes are
# moved, each to its own best place: at a wrong shift the best candidate is often not the nearest
ROUNDS, _MODES = 3, 4


@dataclass(frozen=True)
class Measure:
    """What candidates are compared by: maps, at the frequencies of a model, and the noise.

    Without noise, coefficients are compared as they are.

    Parameters
    ----------
    model
        Image model of the frequencies.
    slicer
        What reads the maps at poses.
    noise
        The noise.
    n_maps
        Number C of them.
    """

    model: ImageModel
    slicer: Slicer
    noise: NoiseSpectrum | None = None
    n_maps: int = 1

    @classmethod
    def of(cls, problem: Problem, model: ImageModel, noise: NoiseSpectrum | None = None) -> Self:
        """Return what compares candidates by the present maps."""
        return cls(model, slicer_of(problem.grids), noise, len(problem.maps))


@dataclass(frozen=True)
class Asked:
    """What an encoder says of m particles.

    Parameters
    ----------
    images
        The particles, moved by the origins that the encoder saw them at.
    proposed
        Candidates, beside these origins, (m, K), each of the map that it fits best.
    errors
        Their errors per coefficient, (m, K); in units of the noise's variance where it is known.
    by_class
        The least error by each map, (m, C).
    """

    images: Observed
    proposed: Poses
    errors: Tensor
    by_class: Tensor

    @property
    def candidates(self) -> Poses:
        """The candidates with their whole shifts, (m, K)."""
        shifts = self.proposed.shifts + self.images.origins[:, None]
        return Poses(self.proposed.rotations, shifts, self.proposed.classes)


@torch.no_grad()
def ask(
    encoder: Encoder,
    particles: Particles,
    rows: Tensor,
    measure: Measure,
    *,
    scales: Tensor,
    origins: Tensor,
    spread: float | None = None,
    rounds: int = 0,
    images: Tensor | None = None,
) -> Asked:
    """Return what an encoder, in evaluation mode, says of particles.

    Parameters
    ----------
    encoder
        The encoder.
    particles, rows
        Which particles, (m,).
    measure
        What the candidates are compared by.
    scales
        What the map is multiplied with to fit each, (m,).
    origins
        Shifts that centre them as far as is known, (m, 2); not heeded where the heads give shifts.
    spread
        Standard deviation of the particles' shifts, pixels; None: they are known.
    rounds
        Rounds of centring before the answer that counts.
    images
        Their images, where they are at hand already.
    """
    images, model = particles.images(rows) if images is None else images, measure.model
    look = encoder.look(images, particles.ctf(rows, encoder.frequencies))
    if encoder.gives_shifts:
        origins, rounds = torch.zeros_like(origins), 0
    seen = particles.observed(rows, model, scales=scales, shifts=origins, images=images)
    for n in range(rounds if spread is not None else 0):
        proposed, errors, _ = compared(measure, seen, encoder(encoder.centred(look, origins)))
        modes = _MODES if n == 0 and rounds > 1 else 1
        places = distinct(proposed.rotations, errors, modes)
        best = proposed[torch.arange(len(rows), device=rows.device)[:, None], places]
        origins = _moved_over(measure, seen, best, spread or 0.0)
        seen = seen.at(model, origins)
    return Asked(seen, *compared(measure, seen, encoder(encoder.centred(look, origins))))


def compared(
    measure: Measure,
    seen: Observed,
    proposed: Poses,
    loss: Literal["squared", "absolute"] = "squared",
) -> tuple[Poses, Tensor, Tensor]:
    """Return K poses of b images with the maps that they fit best, and how well they fit.

    The errors are those of the poses, (b, K), and the least one by each map, (b, C).
    """
    if measure.n_maps == 1:
        errors = errors_of(measure, seen, proposed, loss)
        return proposed, errors, errors.amin(1, keepdim=True)
    shape = proposed.rotations.shape[:2]
    found = []
    for number in range(measure.n_maps):
        classes = torch.full(shape, number, device=seen.rows.device)
        found.append(errors_of(measure, seen, replace(proposed, classes=classes), loss))
    of_maps = torch.stack(found, 2)
    errors, classes = of_maps.min(2)
    return replace(proposed, classes=classes), errors, of_maps.amin(1)


@torch.no_grad()
def errors_of(
    measure: Measure,
    seen: Observed,
    proposed: Poses,
    loss: Literal["squared", "absolute"] = "squared",
) -> Tensor:
    """Return the error of each of K poses of b images per coefficient, (b, K)."""
    n, candidates = proposed.rotations.shape[:2]
    numbers = torch.arange(n, device=seen.rows.device).repeat_interleave(candidates)
    if measure.noise is not None:
        seen = seen.over(measure.noise.deviation(measure.model))
    aligned = Alignment(measure.model, measure.slicer, seen, loss, numbers)
    return aligned.errors(proposed.flatten()).view(n, candidates)


def _moved_over(measure: Measure, seen: Observed, poses: Poses, spread: float) -> Tensor:
    """Return the shifts at which images fit best, at the best turns of n poses (b, n), (b, 2)."""
    model, (b, n) = measure.model, poses.rotations.shape[:2]
    if measure.noise is not None:
        seen = seen.over(measure.noise.deviation(model))
    slices = measure.slicer.at(poses.flatten(), model.frequencies)
    predicted = seen.ctf[:, None] * slices.unflatten(0, (b, n))
    product = turned_products(seen.coefficients[:, None], predicted)
    log_p = cross_products(model, product.flatten(0, 1)).unflatten(0, (b, n))
    log_p -= 0.5 * predicted.square().sum(2, keepdim=True)
    steps = pixel_shifts(model.box, log_p.device)
    log_p += shift_log_prior(seen.origins[:, None] + steps, spread, 1.0)[:, None]
    each = torch.arange(b, device=log_p.device)
    pose = log_p.amax(2).argmax(1)
    return seen.origins + _peak(log_p[each, pose].unflatten(1, (model.box, model.box)))


def _peak(values: Tensor) -> Tensor:
    """Return where images of log-probabilities at shifts (b, D, D) peak, by parabolas, (b, 2)."""
    box, each = values.shape[-1], torch.arange(len(values), device=values.device)
    place = values.flatten(1).argmax(1)
    y, x = place // box, place % box
    top = values[each, y, x]
    found = []
    for line, (before, after) in (
        (x, (values[each, y, (x - 1) % box], values[each, y, (x + 1) % box])),
        (y, (values[each, (y - 1) % box, x], values[each, (y + 1) % box, x])),
    ):
        bend = before - 2 * top + after
        beside = (0.5 * (before - after) / bend.clamp(max=-1e-6)).clamp(-0.5, 0.5)
        found.append(box // 2 - line - beside)
    return torch.stack(found, 1)
