"""What particles say of a symmetry at the poses that they have, by what half-maps predict."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.judging.halves import HalfMaps, back_project
from napari_cryospin.engine.judging.misfit import Predictions
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import shells_of
from napari_cryospin.engine.state.turning import turned_poses

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame
    from napari_cryospin.engine.state.problem import Problem

_TINY = 1e-9


def local_gain(problem: Problem, halves: HalfMaps, name: str, frame: SymmetryFrame) -> Tensor:
    """Return how much more likely particles are by half-maps with a group, nats, (m,).

    Each is predicted from the half-map that it is not in, at the pose that it has, at all
    frequencies: small differences between the mates are told apart there, if anywhere. Half-maps
    with the group are made at all mates of the same poses.

    Parameters
    ----------
    problem
        Particles and poses.
    halves
        The half-maps.
    name, frame
        The group, and the frame in which the map has it.
    """
    turns = torch.from_numpy(frame.rotation @ point_group(name) @ frame.rotation.T).float()
    centred = replace(frame, rotation=np.eye(3))
    moved = replace(problem, poses=turned_poses(problem.poses, centred))
    return _gain((moved, problem.group), (moved, turns.to(problem.device)), halves.rows)


def gain_of(other: Problem, problem: Problem, rows: tuple[Tensor, Tensor], radius: float) -> Tensor:
    """Return how much more likely particles are by the poses of another run of them, nats, (m,).

    They are compared as by :func:`local_gain`, each run with the symmetry that it has.

    Parameters
    ----------
    other, problem
        The two runs.
    rows
        Rows of the particles of two halves, which both have given poses.
    radius
        Frequency radius up to which they are compared, in units of 1/box.
    """
    return _gain((problem, problem.group), (other, other.group), rows, radius)


@torch.no_grad()
def _gain(
    without: tuple[Problem, Tensor],
    with_group: tuple[Problem, Tensor],
    rows: tuple[Tensor, Tensor],
    radius: float = math.inf,
) -> Tensor:
    """Return how much more likely particles are by the second poses and group, nats, (m,)."""
    particles = without[0].particles
    model = ImageModel.within(particles.box, min(radius, particles.box / 2), particles.device)
    found = []
    for problem, group in (without, with_group):
        turns = group if len(group) > 1 else None
        one, two = (back_project(particles, problem.poses, half, model, turns) for half in rows)
        predictions = Predictions(problem, HalfMaps(rows, (one, two)), model, None)
        found.append(_products(predictions, shells_of(model)))
    (before, left), (after, _) = found
    # the noise as what the first leaves
    variance = left.clamp(min=_TINY)
    return 0.5 * ((before - after) / variance).sum(1)


def _products(predictions: Predictions, shells: Tensor) -> tuple[Tensor, Tensor]:
    """Return what predictions change of the squared error of each particle, by shell, (m, s).

    And the mean square that they leave of a coefficient, (s,). Every shell has its own factor.
    """
    inside = torch.nn.functional.one_hot(shells).float()
    parts = [
        ((observed * other) @ inside, other.square() @ inside, observed.square() @ inside)
        for _, observed, other, _ in predictions
    ]
    cross, power, total = (torch.cat(each) for each in zip(*parts, strict=True))
    factor = cross.sum(0) / power.sum(0).clamp(min=_TINY)
    change = factor.square() * power - 2 * factor * cross
    left = (total + change).sum(0) / (len(total) * inside.sum(0).clamp(min=1))
    return change, left
