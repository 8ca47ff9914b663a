"""What a map leaves unexplained: with right poses, with wrong ones, of images that do not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.judging.halves import HalfMaps
from napari_cryospin.engine.judging.misfit import Misfit, local_misfit
from particle_images import all_images, with_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cryospin.engine.state.problem import Problem

Solved = tuple["Problem", HalfMaps]


def test_the_map_of_right_poses_explains_the_particles(solved: Callable[..., Solved]) -> None:
    found = local_misfit(*solved(), across=32)
    assert found is not None
    assert abs(found.value) < 0.03
    assert found.outliers < 0.01
    assert found.fits.median() == pytest.approx(1, abs=0.05)


def test_noise_of_any_colour_is_no_misfit(solved: Callable[..., Solved]) -> None:
    found = local_misfit(*solved(noise="coloured", contrast_spread=0.2), across=32)
    assert found is not None
    assert abs(found.value) < 0.04


def test_wrong_poses_leave_signal_unexplained(solved: Callable[..., Solved]) -> None:
    """Every other particle is turned by 40° about an axis: the map is an average of two."""
    problem, _ = solved()
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -0.7, 0], [0.7, 0, 0], [0, 0, 0.0]]))
    # every other pair, so that each half-map has both
    turned = torch.arange(problem.particles.n) % 4 >= 2
    problem.poses.rotations[turned] = problem.poses.rotations[turned] @ turn
    halves = HalfMaps.of(problem.particles, problem.poses, torch.ones_like(turned))
    found = local_misfit(problem, halves, across=32)
    assert found is not None
    assert found.value > 0.1
    assert found.without_worst > 0.05
    assert found.explained < 0.9


def test_images_that_do_not_fit_are_told_from_a_map_that_does_not(
    solved: Callable[..., Solved],
) -> None:
    """A fifth of the images show another molecule's blob somewhere, or nothing."""
    found = local_misfit(*solved(junk=0.2), across=32)
    assert found is not None
    assert found.value > 0.05
    assert found.without_worst < 0.05
    assert 0.02 < found.outliers <= 0.2


def test_nothing_in_common_is_not_judged(solved: Callable[..., Solved]) -> None:
    problem, _ = solved(n=100)
    noise = torch.randn(
        all_images(problem.particles).shape, generator=torch.Generator().manual_seed(0)
    )
    noisy = replace(problem, particles=with_images(problem.particles, noise))
    rows = torch.ones(problem.particles.n, dtype=torch.bool)
    halves = HalfMaps.of(noisy.particles, noisy.poses, rows)
    assert local_misfit(noisy, halves, across=32) is None


@pytest.mark.parametrize(("value", "explained"), [(-0.01, 1.0), (0.25, 0.8)])
def test_the_share_explained_follows(value: float, explained: float) -> None:
    none = torch.zeros(0)
    assert Misfit(value, 0.0, none, none, none).explained == pytest.approx(explained)
