"""How sure a map is of the poses of particles that it has not learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.cells import SAME_MODE
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.kernels import slicer_of
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.state.problem import evenly_spread
from napari_cryospin.engine.sums.search import PoseSearch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.state.problem import Problem

# other modes that a pose is weighed against
_MODES = 4
# frequencies beyond this radius are not needed to tell modes apart
_MOST_RADIUS = 32.0
# particles that the noise is estimated from, and particles at a time
_NOISE_PARTICLES, _PART = 500, 64


def pose_confidence(
    problem: Problem, learning: Tensor, held: Tensor, turns: Tensor | None = None
) -> Tensor:
    """Return the probability of the mode in which the pose of each particle lies, (h,).

    The pose and the best modes of the posterior on a grid are refined, each for itself, and weighed
    against each other by their likelihoods. On the grid alone the mode that happens to lie nearest
    to a grid point would win. The mean is the share of the poses that are expected to be right, as
    far as the map is.

    Parameters
    ----------
    problem
        Particles, map and poses.
    learning
        Rows of particles that the map has learned from; the noise is estimated from some of them.
    held
        Rows of particles that it has not learned from.
    turns
        Turns of the map that leave it as it is, the identity among them, (g, 3, 3): the mates of a
        pose are as right as itself. By default there are none.
    """
    particles, poses = problem.particles, problem.poses
    radius = min(particles.box / 2, _MOST_RADIUS)
    model = ImageModel.within(particles.box, radius, problem.device)
    present = slicer_of(problem.grids)
    noise = _noise(problem, model, present, learning)
    search, deviation = PoseSearch(problem, noise), noise.deviation(model)
    found = []
    for rows in held.split(_PART):
        modes = search.modes(rows, _MODES)
        rotations = torch.cat((poses.rotations[rows, None], modes.rotations), 1)
        shifts = torch.cat((poses.shifts[rows, None], modes.shifts), 1)
        classes = torch.cat((poses.classes[rows, None], modes.classes), 1)
        # pairs of a particle and one of its poses
        image = torch.arange(len(rows), device=rows.device).repeat_interleave(_MODES + 1)
        seen = particles.observed(rows, model, scales=poses.scales[rows], deviation=deviation)
        aligned = Alignment(model, present, seen, numbers=image, shifted=problem.model.shifts)
        refined = aligned.refine(Poses(rotations, shifts, classes).flatten())
        nats = (-0.5 * len(deviation) * refined.errors).reshape(rotations.shape[:2])
        after = refined.poses.rotations.reshape(rotations.shape)
        own = angular_distance(after, rotations[:, :1], turns) <= SAME_MODE
        own &= classes == classes[:, :1]
        # what was found twice counts once: of the pose's own mode the best, and every other mode
        best = nats.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
        others = nats.masked_fill(own, -torch.inf)
        found.append(torch.cat((best, others), 1).softmax(1)[:, 0])
    return torch.cat(found)


@torch.no_grad()
def _noise(problem: Problem, model: ImageModel, present: Slicer, learning: Tensor) -> NoiseSpectrum:
    """Return the noise as the residuals at the present poses show it."""
    particles, poses = problem.particles, problem.poses
    rows = evenly_spread(learning, _NOISE_PARTICLES)
    seen = particles.observed(rows, model, scales=poses.scales[rows])
    predicted = seen.ctf * model.project(present, poses.at(rows))
    residual = seen.coefficients - predicted
    return NoiseSpectrum.of_residuals(residual.square().mean(0), model, particles.mask_power)
