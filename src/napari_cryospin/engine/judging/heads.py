"""The heads as a posterior: how much of the exact one they cover, and how right their weights are.

The exact posterior of probe particles is the sum over all poses that judges the map, made finer
around its modes. *Coverage* is the share of it that lies near one of a particle's candidates. As
many random poses cover what so many caps of SO(3) cover of it. *Calibration* compares the weights
of the candidates' modes with what the exact posterior has there: in ten bins of weight.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.refining.candidate_modes import (
    COVERED,
    candidate_modes,
    covered,
    mass_of_modes,
    random_coverage,
    within,
)
from napari_cryospin.engine.switch_figures import HeadFigures, WeightBin

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.judging.evidence import Exact
    from napari_cryospin.engine.refining.candidate_modes import CandidateModes
    from napari_cryospin.engine.state.problem import Problem
    from napari_cryospin.engine.sums.finer import FinePosteriors

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
    told = poses.candidates_at(rows)
    candidates = replace(told, shifts=told.shifts - images.origins[:, None])
    found = candidate_modes(
        exact.model, exact.slicer, images, candidates, shifted=problem.model.shifts
    )
    fine = exact.finer
    return figures_of(candidates.rotations, found, fine)


def figures_of(candidates: Tensor, found: CandidateModes, exact: FinePosteriors) -> HeadFigures:
    """Return the figures of candidates (b, K, 3, 3) and their modes, given exact posteriors."""
    right = mass_of_modes(exact.rotations, exact.weights, found)
    bins = reliability(found.weights, right, found.there)
    return HeadFigures(
        coverage=float(covered(candidates, exact.rotations, exact.weights).mean()),
        random_coverage=random_coverage(candidates.shape[1], COVERED),
        calibration_error=calibration_error(bins),
        weights=bins,
    )


def truth_in_modes(found: CandidateModes, truth: Tensor) -> Tensor:
    """Return in which modes the true poses (b, 3, 3) lie, 0 or 1, (b, m)."""
    return within(found.poses.rotations, truth[:, None], COVERED).any(2).float() * found.there


def reliability(weights: Tensor, right: Tensor, there: Tensor) -> tuple[WeightBin, ...]:
    """Return the reliability diagram of weights: ten bins, those without any mode left out.

    Parameters
    ----------
    weights
        Weights of the modes of particles, in 0..1, (b, m).
    right
        What each deserves: what the exact posterior has there, or whether the true pose does lie
        there, (b, m).
    there
        Which modes there are, (b, m).
    """
    there = there & (torch.maximum(weights, right) >= _LEAST_WEIGHT)
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
