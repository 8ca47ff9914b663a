"""The heads as a posterior: how much of the exact one they cover, and how right their weights are.

The exact posterior of probe particles is the sum over all poses that judges the map, made finer
around its modes. *Coverage* is the share of it that lies near one of a particle's candidates. As
many random poses cover what so many caps of SO(3) cover of it. *Calibration* compares the weights
of the candidates' modes with what the exact posterior has there: in ten bins of weight.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.events import HeadFigures, WeightBin
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.refining.candidate_modes import candidate_modes, mass_of_modes

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.judging.evidence import Exact
    from napari_cryospin.engine.state.problem import Problem

# a pose within this angle of a candidate is covered by it, degrees
COVERED = 15.0
_BINS = 10
# a mode with less than this of both posteriors is none
_LEAST_WEIGHT = 1e-3


@torch.no_grad()
def head_figures(problem: Problem, exact: Exact) -> HeadFigures:
    """Measure the candidates of probe particles against their exact posteriors.

    Parameters
    ----------
    problem
        Particles, map and poses, which have candidates.
    exact
        The exact posteriors of the probes, with the map and the noise that they were found with.
    """
    poses, rows, images = problem.poses, exact.images.rows, exact.images
    candidates = Poses(
        poses.candidates[rows], poses.candidate_shifts[rows] - images.origins[:, None]
    )
    fine = exact.finer
    near = within(fine.rotations, candidates.rotations, COVERED).any(2)
    found = candidate_modes(
        exact.model, exact.slicer, images, candidates, shifted=problem.model.shifts
    )
    right = mass_of_modes(fine.rotations, fine.weights, found)
    bins = reliability(found.weights, right)
    return HeadFigures(
        coverage=float((fine.weights * near).sum(1).mean()),
        random_coverage=random_coverage(candidates.rotations.shape[1], COVERED),
        calibration_error=calibration_error(bins),
        weights=bins,
    )


def within(poses: Tensor, others: Tensor, angle: float) -> Tensor:
    """Return which poses (b, p, 3, 3) lie within an angle, degrees, of others (b, q, 3, 3)."""
    trace = poses.flatten(2) @ others.flatten(2).mT
    return trace >= 1 + 2 * math.cos(math.radians(angle))


def random_coverage(n: int, angle: float) -> float:
    """Return the chance that one of ``n`` random poses lies within an angle, degrees, of a pose."""
    radians = math.radians(angle)
    return 1 - (1 - (radians - math.sin(radians)) / math.pi) ** n


def reliability(weights: Tensor, right: Tensor) -> tuple[WeightBin, ...]:
    """Return the reliability diagram of weights: ten bins, those without any mode left out.

    Parameters
    ----------
    weights
        Weights of the modes of particles, in 0..1, (b, m).
    right
        What each deserves: what the exact posterior has there, or whether the true pose does lie
        there, (b, m).
    """
    there = torch.maximum(weights, right) >= _LEAST_WEIGHT
    w, r = weights[there].double(), right[there].double()
    place = (w * _BINS).long().clamp(max=_BINS - 1)
    bins = []
    for number in range(_BINS):
        here = place == number
        if here.any():
            bins.append(WeightBin(float(w[here].mean()), float(r[here].mean()), int(here.sum())))
    return tuple(bins)


def calibration_error(bins: tuple[WeightBin, ...]) -> float:
    """Return the expected calibration error of a reliability diagram; NaN of an empty one."""
    number = sum(one.number for one in bins)
    if not number:
        return math.nan
    return sum(one.number * abs(one.weight - one.right) for one in bins) / number
