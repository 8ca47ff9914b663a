"""Noise of optics groups and micrographs: measured, and images of all filtered to the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.noise_groups import (
    NoiseFilters,
    NoiseGroups,
    Spectra,
    filters_of,
)
from napari_cryospin.engine.data.normalise import soft_mask
from napari_cryospin.engine.data.nuisances import Nuisances
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.judging.particle_fit import ParticleFit
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.run.homes import open_particles
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.simulate import simulate
from particle_images import all_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.state.problem import Problem

N, BOX = 600, 32
# radii that hold enough numbers to tell a power
TOLD = slice(3, 15)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of two optics groups, three micrographs of 100 each, with next to no signal."""
    folder = tmp_path_factory.mktemp("groups") / "stack"
    volume = procedural_molecule(BOX, 8.0)
    nuisances = Nuisances(groups=2)
    simulate(volume, folder, n_particles=N, pixel_size=8.0, snr=1e-6, nuisances=nuisances)
    return folder


@pytest.fixture(scope="module")
def in_groups(stack: Path) -> Particles:
    return prepare(read_table(stack / "particles.star"), DataSettings(box=BOX))


def spectrum(particles: Particles, rows: np.ndarray) -> np.ndarray:
    """Return the noise of particles as inference sees it, by shell."""
    return particles.noise(torch.from_numpy(rows)).variance.numpy()[TOLD]


def of_optics(particles: Particles, group: int) -> np.ndarray:
    return np.flatnonzero(particles.table.optics_index[particles.rows] == group)


def test_images_of_all_groups_have_the_same_noise(in_groups: Particles) -> None:
    plain = replace(in_groups, noise_filters=None)
    one, two = (of_optics(in_groups, group) for group in (0, 1))
    before = spectrum(plain, one) / spectrum(plain, two)
    after = spectrum(in_groups, one) / spectrum(in_groups, two)
    assert np.abs(np.log(before)).max() > 0.7
    assert np.abs(np.log(after)).max() < 0.15
    # of all together it is what it was, within what groups differ by
    everyone = np.arange(N)
    assert np.allclose(spectrum(in_groups, everyone), spectrum(plain, everyone), rtol=0.3)
    (note,) = (note for note in in_groups.notes if "noise" in note)
    assert "group by group" in note and "6 groups" in note


def test_images_and_transfer_are_multiplied_with_the_same(in_groups: Particles) -> None:
    """So that the model stays exact, and what the user sees stays as it is."""
    plain = replace(in_groups, noise_filters=None)
    model, rows = ImageModel.within(BOX, 12), torch.tensor([0, 150, 350])
    seen, unfiltered = in_groups.observed(rows, model), plain.observed(rows, model)
    factors = seen.coefficients / unfiltered.coefficients
    torch.testing.assert_close(seen.ctf, unfiltered.ctf * factors)
    weights = in_groups.weights(rows, model)
    assert weights is not None
    torch.testing.assert_close(factors, weights)
    assert weights.std() > 0.1
    assert np.array_equal(in_groups.image(3), plain.image(3))
    assert torch.equal(in_groups.images(rows), plain.images(rows))
    assert torch.equal(in_groups.ctf(rows, model.frequencies), plain.ctf(rows, model.frequencies))
    assert plain.weights(rows, model) is None


def test_filters_come_back_from_a_working_file(stack: Path, in_groups: Particles) -> None:
    filters = in_groups.noise_filters
    assert filters is not None
    for _ in range(2):
        again = open_particles(stack / "particles.star", box=BOX, particles_in="disk")
        assert again.noise_filters is not None
        assert torch.equal(again.noise_filters.factors, filters.factors)
        assert torch.equal(again.noise_filters.of, filters.of)
    assert again.to("cpu").noise_filters is not None


def test_filters_follow_the_particles_to_a_device(
    in_groups: Particles, second_device: Callable[[], AbstractContextManager[torch.device]]
) -> None:
    rows, shown = torch.tensor([0, 150, 350]), ImageModel.within(BOX, 12)
    expected = in_groups.observed(rows, shown)
    with second_device() as device:
        moved = in_groups.to(device)
        found = moved.observed(rows.to(device), ImageModel.within(BOX, 12, device))
        ctf, coefficients = found.ctf.cpu(), found.coefficients.cpu()
    torch.testing.assert_close(ctf, expected.ctf, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(coefficients, expected.coefficients, atol=1e-4, rtol=1e-4)


def test_groups_of_the_same_noise_change_nothing(small_stack: Path, tmp_path: Path) -> None:
    """Two groups by name alone: to the last bit as if there was one."""
    table = read_table(small_stack / "particles.star")
    whole = prepare(table, DataSettings(box=BOX))
    index = np.arange(200) % 2
    halves = replace(table, optics=table.optics * 2, optics_index=index)
    assert NoiseGroups.of_table(halves, np.arange(200)).several
    found = prepare(halves, DataSettings(box=BOX))
    assert found.noise_filters is None and whole.noise_filters is None
    model, rows = ImageModel.within(BOX, 12), torch.arange(20)
    assert torch.equal(found.transfer(rows, model), whole.transfer(rows, model))
    torch.testing.assert_close(all_images(found), all_images(whole), rtol=0.02, atol=0.02)


def with_micrographs(table: ParticleTable, names: list[str]) -> ParticleTable:
    original = table.original
    frame = original.blocks[original.particles].copy()
    frame["rlnMicrographName"] = names
    blocks = {**original.blocks, original.particles: frame}
    return replace(table, original=replace(original, blocks=blocks))


def test_micrographs_of_many_images_are_groups(small_stack: Path) -> None:
    table = read_table(small_stack / "particles.star")
    assert NoiseGroups.of_table(table, np.arange(200)).of.tolist() == [0] * 200
    names = ["a"] * 90 + ["b"] * 60 + ["c"] * 3 + ["d"] * 47
    groups = NoiseGroups.of_table(with_micrographs(table, names), np.arange(200))
    # those of few are one, whatever their number
    assert len(groups.optics) == 3 and groups.optics.tolist() == [0, 0, 0]
    assert len(set(groups.of[:90])) == len(set(groups.of[90:150])) == len(set(groups.of[150:])) == 1
    assert len({groups.of[0], groups.of[90], groups.of[150]}) == 3
    # without the last of its images, b is none of its own any more
    fewer = NoiseGroups.of_table(with_micrographs(table, names), np.arange(130))
    assert len(fewer.optics) == 2


def coloured(n: int, exponent: float, seed: int) -> Tensor:
    """Return noise whose power falls with the radius, (n, D, D), of unit variance."""
    k = torch.fft.fftfreq(BOX) * BOX
    amplitude = (1 + torch.hypot(k[:, None], k)) ** (-exponent / 2)
    white = torch.randn(n, BOX, BOX, generator=torch.Generator().manual_seed(seed))
    images = torch.fft.ifft2(torch.fft.fft2(white) * amplitude).real
    return images / images.std()


def measured(parts: list[Tensor], optics: list[int]) -> Tensor | None:
    """Return the filters of groups with these images."""
    spectra = Spectra(len(parts), soft_mask(BOX, BOX))
    for number, images in enumerate(parts):
        spectra.add(np.full(len(images), number), images)
    of = np.repeat(np.arange(len(parts)), [len(images) for images in parts])
    groups = NoiseGroups(of, np.array(optics))
    return filters_of(groups, spectra.power, spectra.counts, spectra.independent)


def test_micrographs_of_a_group_have_filters_of_their_own() -> None:
    found = measured([coloured(300, 0.0, 0), coloured(300, 1.0, 1), coloured(300, 1.0, 2)], [0] * 3)
    assert found is not None
    # more of the slow waves: less weight there
    assert (found[1, 1:4] < 0.7 * found[0, 1:4]).all()
    assert torch.allclose(found[1, TOLD], found[2, TOLD], rtol=0.1)
    wanted = (1 + torch.arange(BOX // 2)) ** 0.5
    ratio = found[1] / found[0] / wanted
    assert torch.allclose(ratio[TOLD], ratio[TOLD].mean().expand(12), rtol=0.12)


def test_chance_is_no_difference() -> None:
    parts = [coloured(60, 0.5, seed) for seed in range(8)]
    assert measured(parts, [0, 0, 0, 0, 1, 1, 1, 1]) is None
    # and among groups that differ, those of the same noise have nearly the same filter
    found = measured(
        [*parts[:4], *(coloured(60, 1.5, seed) for seed in range(8, 12))], [0] * 4 + [1] * 4
    )
    assert found is not None
    spread = found[:4].std(0) / found[:4].mean(0)
    assert spread[TOLD].max() < 0.05
    assert (found[0] / found[4]).log().abs().max() > 0.5


def test_few_images_and_bad_ones_do_no_harm() -> None:
    """A group of three, one of none, one of images that hold no numbers."""
    bad = coloured(40, 0.5, 3)
    bad[::2, 5, 5] = torch.nan
    parts = [coloured(300, 0.5, 0), coloured(300, 1.5, 4), coloured(3, 0.5, 1), bad[:0], bad * 0]
    found = measured([*parts, bad], [0, 1, 2, 0, 0, 3])
    assert found is not None and torch.isfinite(found).all()
    assert (found >= 0.25).all() and (found <= 4).all()
    # those that tell nothing have the noise of their optics group
    assert torch.allclose(found[3], found[4]) and torch.allclose(found[3], found[0], rtol=0.05)
    assert measured([bad[:0], bad[:0]], [0, 1]) is None
    assert measured([coloured(300, 0.5, 0), bad[:0]], [0, 1]) is None


def test_what_a_particle_is_explained_of_is_not_weighed(problem: Problem) -> None:
    """The log-likelihood is told by the noise of its group, and power as it is in the image."""
    particles, rows = problem.particles, torch.arange(problem.particles.n)
    problem.poses.losses[:] = 1
    factors = torch.stack((torch.full((16,), 0.5), torch.full((16,), 2.0)))
    filtered = replace(particles, noise_filters=NoiseFilters(factors, rows % 2))
    white = NoiseSpectrum.white(32)
    plain = ParticleFit.measured(problem, 10, white)
    found = ParticleFit.measured(replace(problem, particles=filtered), 10, white)
    torch.testing.assert_close(found.explained, plain.explained, equal_nan=True)
    torch.testing.assert_close(found.log_likelihood[::2], plain.log_likelihood[::2] / 4)
    torch.testing.assert_close(found.log_likelihood[1::2], plain.log_likelihood[1::2] * 4)
