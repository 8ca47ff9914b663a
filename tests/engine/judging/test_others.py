"""Whether images that do not belong to a map show another structure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.data.normalise import soft_mask
from napari_cryospin.engine.judging.causes import Findings
from napari_cryospin.engine.judging.mates import Mates
from napari_cryospin.engine.judging.misfit import Misfit
from napari_cryospin.engine.judging.others import Others, structure_of
from napari_cryospin.engine.runfolder.verdict import Cause
from particle_images import with_images

if TYPE_CHECKING:
    from napari_cryospin.engine.state.problem import Problem


def test_particles_make_a_map_of_their_own(problem: Problem) -> None:
    n = problem.particles.n
    before = {name: value.clone() for name, value in problem.poses.state().items()}
    grid = problem.volume.grid().detach().clone()
    found = structure_of(problem, torch.arange(n))
    assert found is not None and found.n == n
    assert found.explained > 0.9 and found.gain > 10 * found.gain_error
    # the run that asks is left as it was
    assert torch.equal(problem.volume.grid(), grid)
    for name, value in problem.poses.state().items():
        assert torch.equal(value.nan_to_num(), before[name].nan_to_num())


def test_noise_makes_none(problem: Problem) -> None:
    n = problem.particles.n
    draw = torch.Generator().manual_seed(0)
    images = soft_mask(32, 32) * torch.randn(n, 32, 32, generator=draw)
    noise = replace(problem, particles=with_images(problem.particles, images))
    found = structure_of(noise, torch.arange(n))
    assert found is not None and found.explained < 0.05


def test_few_images_are_not_asked(problem: Problem) -> None:
    assert structure_of(problem, torch.arange(100)) is None


NOTHING = torch.zeros(10)
GOOD = Misfit(0.01, 0.0, NOTHING, torch.ones(10), NOTHING)


@pytest.mark.parametrize(
    ("explained", "gain", "cause"),
    [
        (0.9, 20.0, Cause.SEVERAL_STRUCTURES),
        (0.1, 20.0, Cause.OUTLIERS),
        (0.9, 1.0, Cause.OUTLIERS),
    ],
)
def test_who_does_not_belong_is_another_structure_or_junk(
    explained: float, gain: float, cause: Cause
) -> None:
    found = Findings(GOOD, None, Mates.none(), None, 0.4, Others(400, explained, gain, 1.0))
    assert found.cause is cause
    if cause is Cause.SEVERAL_STRUCTURES:
        assert found.shares == pytest.approx((0.64, 0.36))
