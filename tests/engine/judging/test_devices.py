"""What judges a map computes on the device of the run, and finds there what it finds on the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.judging import variability as module
from napari_cryospin.engine.judging.centring import centring
from napari_cryospin.engine.judging.halves import HalfMaps
from napari_cryospin.engine.judging.misfit import local_misfit
from napari_cryospin.engine.judging.pixel_size import fitting_pixel_size
from napari_cryospin.engine.judging.refined import with_refined_poses
from napari_cryospin.engine.judging.variability import variability
from napari_cryospin.engine.state.pose_table import PoseTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from napari_cryospin.engine.state.problem import Problem

Solved = tuple["Problem", HalfMaps]


def test_judging_on_a_device(
    solved: Callable[..., Solved],
    second_device: Callable[[], AbstractContextManager[torch.device]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_STARTS", 1)
    monkeypatch.setattr(module, "_STEPS", 2)
    problem, halves = solved(n=200)
    expected = figures(problem, halves)
    with second_device() as device:
        table = {name: values.to(device) for name, values in problem.poses.state().items()}
        particles = problem.particles.to(device)
        moved = replace(problem, particles=particles, poses=PoseTable(**table))
        used = torch.ones(particles.n, dtype=torch.bool).to(device)
        found = figures(moved, HalfMaps.of(particles, moved.poses, used))
    assert found == pytest.approx(expected, rel=0.02, abs=0.02)


def figures(problem: Problem, halves: HalfMaps) -> list[float]:
    refined = with_refined_poses(problem, halves)
    also = halves.rows[0][:5]
    misfit = local_misfit(refined, halves, across=32, also=also)
    fit = fitting_pixel_size(problem, halves)
    moved, varied = centring(problem, halves), variability(problem, halves, 0)
    assert misfit is not None
    assert fit is not None
    return [misfit.value, misfit.outliers, fit.factor, moved.gain, moved.rms, varied.humps.apart]
