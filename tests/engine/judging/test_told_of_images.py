"""Contrast and pixel size: whether what is told of the images can be true."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.judging.contrast import skewness
from napari_cryospin.engine.judging.halves import HalfMaps
from napari_cryospin.engine.judging.pixel_size import fitting_pixel_size

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from napari_cryospin.engine.state.problem import Problem


def test_a_molecule_is_denser_than_what_is_around_it(molecule: np.ndarray) -> None:
    volume = torch.from_numpy(molecule)
    assert skewness(volume) > 1
    assert skewness(3 - volume) == pytest.approx(-skewness(volume), rel=1e-4)
    assert skewness(torch.zeros(4, 4, 4)) == 0


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_a_wrong_pixel_size_shows_in_the_ctf(
    solved: Callable[..., tuple[Problem, HalfMaps]], factor: float
) -> None:
    """What is told is the true pixel size times the factor; so the CTFs fit one over it."""
    problem, _ = solved(n=400)
    told = replace(problem.particles, pixel_size=factor * problem.particles.pixel_size)
    problem = replace(problem, particles=told)
    used = torch.ones(told.n, dtype=torch.bool)
    found = fitting_pixel_size(problem, HalfMaps.of(told, problem.poses, used))
    assert found is not None
    assert found.factor == pytest.approx(1 / factor, abs=0.045)
    assert (found.gain > 0.3) == (factor != 1)


def test_without_ctf_nothing_is_said(solved: Callable[..., tuple[Problem, HalfMaps]]) -> None:
    problem, halves = solved(n=60)
    bare = replace(problem, particles=replace(problem.particles, ctf_parameters=None))
    assert fitting_pixel_size(bare, halves) is None
