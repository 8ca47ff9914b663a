"""What particles say, at the poses that they have, of a map that looks symmetric."""

from __future__ import annotations

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


@torch.no_grad()
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
    particles, device = problem.particles, problem.device
    model = ImageModel.within(particles.box, particles.box / 2, device)
    turns = torch.from_numpy(frame.rotation @ point_group(name) @ frame.rotation.T).float()
    centred = replace(frame, rotation=np.eye(3))
    moved = replace(problem, poses=turned_poses(problem.poses, centred))
    own = problem.group if len(problem.group) > 1 else None
    shells = shells_of(model)
    found = []
    for group in (own, turns.to(device)):
        one, two = (
            back_project(particles, moved.poses, rows, model, group) for rows in halves.rows
        )
        made = HalfMaps(halves.rows, (one, two))
        found.append(_products(Predictions(moved, made, model, None), shells))
    (without, left), (with_group, _) = found
    # the noise as what the map without it leaves
    variance = left.clamp(min=_TINY)
    return 0.5 * ((without - with_group) / variance).sum(1)


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
