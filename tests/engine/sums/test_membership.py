"""Memberships: who shows the particle, and by how much each image goes into a map."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.data.member import APART, BELONGS
from napari_cryospin.engine.data.normalise import soft_mask
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.sums import MapSums, mean_residual
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.finding_members import find_members
from napari_cryospin.engine.sums.membership import Members, Outliers
from napari_cryospin.engine.sums.previous import Memory
from napari_cryospin.engine.sums.proposals import SamplingOptions
from napari_cryospin.engine.sums.quadrature import Quadrature
from napari_cryospin.engine.sums.sampled import SampledSum
from particle_images import all_images, with_images

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.state.problem import Problem

N_GOOD, N_JUNK = 600, 200


def normal(n: int, mean: float, width: float, seed: int) -> Tensor:
    return mean + width * torch.randn(n, generator=torch.Generator().manual_seed(seed))


def told(junk_scores: Tensor, junk_scales: Tensor) -> Tensor:
    """Return memberships of particles, and then of junk."""
    scores = torch.cat((normal(N_GOOD, 0.5, 0.15, 0), junk_scores))
    scales = torch.cat((normal(N_GOOD, 0.0, 0.15, 1).exp(), junk_scales))
    members = Members()
    members.learn(scores, scales)
    return members.of(scores, scales)


@pytest.mark.parametrize("far", [-0.8, -5.0, -100.0])
def test_what_scores_far_below_the_others_is_none(far: float) -> None:
    found = told(normal(N_JUNK, far, abs(far) / 4, 2), normal(N_JUNK, -0.5, 0.4, 3).exp())
    assert (found[:N_GOOD] > 0.5).float().mean() > 0.99
    assert (found[N_GOOD:] < 0.5).float().mean() > 0.98


def test_what_is_much_stronger_than_the_others_is_none() -> None:
    """Lumps of ice that fit a map at low frequency, and score no worse for it."""
    found = told(normal(N_JUNK, 0.1, 0.3, 2), normal(N_JUNK, 1.0, 0.2, 3).exp())
    assert (found[:N_GOOD] > 0.5).float().mean() > 0.99
    assert (found[N_GOOD:] < 0.5).float().mean() > 0.97


def test_without_junk_nearly_all_belong() -> None:
    found = told(torch.empty(0), torch.empty(0))
    assert (found > 0.5).float().mean() > 0.97


def test_who_scores_better_than_most_belongs() -> None:
    members = Members()
    members.learn(normal(N_GOOD, 0.5, 0.1, 0), torch.ones(N_GOOD))
    # no width at all, and far better than any
    best = members.of(torch.tensor([0.5, 0.9, 5.0]), torch.ones(3))
    assert (best > 0.99).all()


def test_a_map_that_explains_an_image_is_believed() -> None:
    """Half of the images score a little, half much: both by the map, and none is an outlier."""
    scores = torch.cat((normal(300, 0.9, 0.05, 0), normal(300, 0.4, 0.05, 1)))
    members = Members()
    members.learn(scores, torch.ones(600))
    assert (members.of(scores, torch.ones(600)) > 0.5).all()


def test_some_contrast_is_no_reason_to_be_an_outlier() -> None:
    """Where nearly all particles have the same, as simulated ones of little noise."""
    scores, scales = normal(N_GOOD, 0.8, 0.02, 0), normal(N_GOOD, 0.0, 0.01, 1).exp()
    scales[:40] = torch.linspace(0.75, 1.3, 40)
    members = Members()
    members.learn(scores, scales)
    assert (members.of(scores, scales) > 0.5).float().mean() > 0.98


def test_few_images_tell_no_outliers() -> None:
    members = Members()
    scores = torch.tensor([1.0] * 40 + [-9.0] * 20)
    members.learn(scores, torch.ones(60))
    assert (members.of(scores, torch.ones(60)) == 1).all()


def test_the_state_comes_back() -> None:
    members, other = Members(), Members()
    scores, scales = normal(N_GOOD, 0.5, 0.3, 0), torch.ones(N_GOOD)
    other.load_state(members.state())
    assert torch.equal(other.of(scores, scales), members.of(scores, scales))
    members.learn(scores, scales)
    other.load_state(members.state())
    assert torch.equal(other.of(scores, scales), members.of(scores, scales))


@pytest.fixture
def with_junk(problem: Problem) -> Problem:
    """The small stack with three kinds of junk among it: noise, loud noise, and lumps."""
    images = all_images(problem.particles).clone()
    draw = torch.Generator().manual_seed(0)
    mask = soft_mask(32, 32)
    box = torch.arange(32) - 16.0
    for row in range(60):
        noise = torch.randn(32, 32, generator=draw)
        height, x, y = torch.rand(3, generator=draw).tolist()
        lump = torch.exp(-((box - 6 * x) ** 2 + (box[:, None] - 6 * y) ** 2) / 60)
        images[row] = mask * (noise, 3 * noise, noise + (3 + 5 * height) * lump)[row % 3]
    return replace(problem, particles=with_images(problem.particles, images))


def found_members(problem: Problem) -> Tensor:
    rows = torch.arange(problem.particles.n)
    search = find_members(problem, rows, NoiseSpectrum.white(32))
    while True:
        try:
            next(search)
        except StopIteration as done:
            found: Tensor = done.value
            return found


def test_junk_is_found_by_the_map(with_junk: Problem) -> None:
    found = found_members(with_junk)
    assert (found[60:] > 0.5).float().mean() > 0.95
    assert (found[:60] < 0.5).float().mean() > 0.95


def test_what_is_said_by_hand_enters_a_map(with_junk: Problem) -> None:
    """An image that is taken for junk, and taken back; and a particle that is set apart."""
    poses, some = with_junk.poses, torch.tensor([2, 100])
    found = found_members(with_junk)
    assert found[2] < 0.2 and found[100] > 0.8
    points = Quadrature.at(32, 4, 6)
    grid, white = with_junk.volume.grid().detach(), torch.ones(len(points.model.frequencies))
    members = Members()

    def weighed() -> tuple[Tensor, float]:
        """Return the memberships of the two by which a sum has weighed them, and their total."""
        outliers = Outliers.of(members, points, grid, white, with_junk.particles.mask_power)
        total = ExactSum(points, grid, white, outliers)
        seen = with_junk.observed(some, points.model)
        return total.posteriors(seen, collect=True).membership, total.collected()[0].weight

    rows = torch.arange(with_junk.particles.n)
    outliers = Outliers.of(members, points, grid, white, with_junk.particles.mask_power)
    told = ExactSum(points, grid, white, outliers).posteriors(
        with_junk.observed(rows, points.model)
    )
    members.learn(told.scores, told.scales)
    before, weight = weighed()
    assert before[0] < 0.2 and before[1] > 0.8 and weight == pytest.approx(float(before.sum()))
    assert poses.say(some[:1], BELONGS) and poses.say(some[1:], APART)
    after, weight = weighed()
    assert after.tolist() == [1, 0] and weight == pytest.approx(1)
    # and where images go in at one pose each
    assert with_junk.observed(some, points.model).membership.tolist() == [1, 0]


def test_who_is_held_out_changes_nothing_for_others(with_junk: Problem) -> None:
    before, held = found_members(with_junk), with_junk.held_out
    images = all_images(with_junk.particles).clone()
    images[held] *= -2
    changed = replace(with_junk, particles=with_images(with_junk.particles, images))
    after = found_members(changed)
    assert torch.equal(after[~held], before[~held])
    assert not torch.equal(after[held], before[held])


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("sampled", [False, True])
def test_an_image_goes_into_a_sum_by_its_membership(
    particles: Particles, true_map: Tensor, shifted: bool, sampled: bool
) -> None:
    """One by half and one not at all: the sums of the two, and the number of them."""
    points = Quadrature.at(32, 4, 6, spread=1.5 if shifted else None)
    grid, rows = grid_of_map(true_map), torch.arange(12)
    white = torch.ones(len(points.model.frequencies))

    def collected(weights: Tensor) -> MapSums:
        total: ExactSum | SampledSum = ExactSum(points, grid, white)
        if sampled:
            memory = Memory(particles.n, torch.device("cpu"))
            own = particles.observed(rows, points.model)
            memory.remember(rows, total.posteriors(own), points)
            draw = torch.Generator().manual_seed(0)
            options = SamplingOptions(factor=50)
            total = SampledSum(points, grid, white, memory, options, draw)
        some = weights > 0 if not sampled else torch.ones_like(weights, dtype=torch.bool)
        images = particles.observed(rows[some], points.model, membership=weights[some])
        total.posteriors(images, collect=True)
        return total.collected()[0]

    halves = collected(torch.tensor([0.5] * 6 + [0.0] * 6))
    whole = collected(torch.tensor([1.0] * 6 + [0.0] * 6))
    assert whole.weight == pytest.approx(6) and halves.weight == pytest.approx(3)
    assert torch.allclose(halves.inserted, whole.inserted / 2, atol=1e-3)
    assert torch.allclose(mean_residual([halves]), mean_residual([whole]), rtol=1e-3)


def test_images_at_one_pose_are_weighed_too(problem: Problem, true_rotations: Tensor) -> None:
    particles, rows = problem.particles, torch.arange(20)
    points = Quadrature.at(32, 6, 6)
    poses = Poses.centred(true_rotations[rows])
    membership = torch.linspace(0.1, 1, 20)
    seen = particles.observed(rows, points.model, membership=membership)
    aligned = Alignment(points.model, slicer(problem.volume.grid()), seen)
    errors, power = aligned.residuals(poses)
    plain = replace(aligned, images=replace(seen, membership=torch.ones(20)))
    assert torch.allclose(errors, plain.residuals(poses)[0], rtol=1e-4)
    each = [plain_of(plain, row).residuals(poses[row : row + 1])[1] for row in range(20)]
    expected = (membership[:, None] * torch.stack(each)).sum(0)
    assert torch.allclose(power, expected, rtol=1e-3)
    total = MapSums(points.model)
    total.add_images(seen, poses)
    alone = torch.zeros_like(total.inserted)
    for row in range(20):
        one = MapSums(points.model)
        one.add_images(plain.images[row : row + 1], poses[row : row + 1])
        alone += membership[row] * one.inserted
    assert torch.allclose(total.inserted, alone, atol=1e-3)


def plain_of(aligned: Alignment, row: int) -> Alignment:
    return replace(aligned, images=aligned.images[row : row + 1])
