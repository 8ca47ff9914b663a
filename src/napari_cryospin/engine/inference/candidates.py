"""How sure a particle's candidates are of its pose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.refining.candidate_modes import APART

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.state.problem import Problem


# a particle is sure of its pose where all but this share of the weight is at the best mode, ...
_DOUBT = 1e-3
# ... and its error is no further above the median than this, in standard deviations
_OUTLYING = 1.3
# standard deviations of a Gaussian in its median absolute deviation
_OF_MEDIAN = 1.4826


def doubt(problem: Problem, radius: float) -> tuple[Tensor, Tensor]:
    """Return whose candidates have several modes, and whose best one fits ill, bool, (n,) each.

    These leave doubt about the pose: what proposed them may have missed it. Without candidates
    all do.

    Parameters
    ----------
    problem
        Particles and their poses; errors are in units of the noise's variance.
    radius
        Frequency radius that the candidates were judged by, in units of 1/box.
    """
    poses, box = problem.poses, problem.particles.box
    model = ImageModel.within(box, min(radius, box / 2), problem.device)
    errors = poses.candidate_losses.nan_to_num(nan=torch.inf)
    if not errors.shape[1]:
        everyone = torch.ones(len(errors), dtype=torch.bool, device=errors.device)
        return everyone, everyone
    size, group = len(model.frequencies), problem.group
    several = have_several_modes(poses.candidates, errors, size, group)
    return several, outlying(errors.amin(1), problem.members)


def have_several_modes(
    rotations: Tensor, errors: Tensor, size: int, group: Tensor | None = None
) -> Tensor:
    """Return which particles' candidates tell of another mode beside the best one, bool, (b,).

    Parameters
    ----------
    rotations
        Candidates, (b, K, 3, 3).
    errors
        Their errors per coefficient, in units of the noise's variance, (b, K).
    size
        Number of coefficients.
    group
        Turns after which the map is the same, (g, 3, 3): mates are of one mode.
    """
    best, place = errors.min(1)
    weights = (-0.5 * size * (errors - best[:, None])).exp()
    winners = rotations[torch.arange(len(best), device=best.device), place]
    away = angular_distance(rotations, winners[:, None], group) >= APART
    return (weights * away).sum(1) > _DOUBT * weights.sum(1)


def outlying(errors: Tensor, members: Tensor | None = None) -> Tensor:
    """Return which errors (n,) are larger than most of the members', bool, (n,).

    What is no number is; by default all are members.
    """
    known = errors[errors.isfinite() if members is None else errors.isfinite() & members]
    middle = known.median() if len(known) else errors.new_tensor(torch.nan)
    spread = _OF_MEDIAN * (known - middle).abs().median()
    return ~(errors <= middle + _OUTLYING * spread)
