"""The posterior: against brute force and float64, its noise, its modes, its calibration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.posteriors import common_rotation, coverage, reliability
from napari_cryospin.engine.geometry.cells import (
    ancestors,
    cells_of_rotations,
    n_cells,
    rotations_of_cells,
)
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.posterior.modes import find_modes
from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.posterior.refinement import (
    Cells,
    log_probability,
    on_first_level,
    refine,
)
from napari_cryospin.engine.posterior.summary import (
    PosteriorSummary,
    credible_levels,
    summarise,
)
from particle_images import all_images, with_images

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles


@pytest.fixture
def posteriors(particles: Particles, true_map: Tensor) -> ParticlePosteriors:
    posteriors = ParticlePosteriors(particles, PosteriorOptions(nside=4, depth=16))
    posteriors.set_volume(true_map.numpy())
    return posteriors


def test_the_refined_posterior_equals_the_exhaustive_one(posteriors: ParticlePosteriors) -> None:
    likelihood = posteriors.grid.likelihood
    model = likelihood.model(posteriors.radius)
    rows = torch.arange(0, 200, 10)
    blocks = []
    for cells in np.array_split(np.arange(n_cells(8)), 8):
        slices = likelihood.slices(rotations_of_cells(cells, 8), model)
        blocks.append(log_probability(likelihood, model, rows, slices, np.zeros((1, 2)))[:, 0])
    exact = torch.softmax(torch.from_numpy(np.concatenate(blocks, 1)), 1).numpy()
    log_p = posteriors.grid.log_probability(rows, torch.zeros(len(rows), 2))
    for row, one, expected in zip(rows, log_p, exact, strict=True):
        start = Cells.of_grid(4, one, torch.zeros(2))
        found = refine(likelihood, int(row), start, depth=8, radius=posteriors.radius)[-1]
        assert found.nside == 8
        probability = np.zeros(n_cells(8))
        probability[found.cells] = found.probability()[0]
        assert 0.5 * np.abs(probability - expected).sum() < 0.01


def test_the_grid_shows_what_the_finer_cells_say(posteriors: ParticlePosteriors) -> None:
    likelihood, radius = posteriors.grid.likelihood, posteriors.radius
    log_p = posteriors.grid.log_probability(torch.arange(5), torch.zeros(5, 2))
    for row, one in enumerate(log_p):
        start = Cells.of_grid(4, one, torch.zeros(2))
        levels = refine(likelihood, row, start, depth=16, radius=radius)
        probability = on_first_level(levels)
        assert probability.sum() == pytest.approx(1)
        fine = levels[-1]
        told = np.bincount(
            ancestors(fine.cells, 16, 4), fine.probability()[0], minlength=n_cells(4)
        )
        assert 0.5 * np.abs(probability - told).sum() < 0.01
        # what was never split is told by the grid
        never = np.setdiff1d(np.arange(n_cells(4)), ancestors(levels[1].cells, 8, 4))
        assert np.allclose(probability[never], start.probability()[0, never], rtol=1e-9)
    assert np.allclose(on_first_level(levels[:1]), start.probability()[0])


def test_log_probabilities_agree_with_float64(posteriors: ParticlePosteriors) -> None:
    likelihood, rows = posteriors.grid.likelihood, torch.arange(10)
    model = likelihood.model(8)
    cells = np.arange(0, n_cells(4), 7)
    slices = likelihood.slices(rotations_of_cells(cells, 4), model)
    shifts = np.array([(0.0, 0.0), (1.5, -2.0)])
    found = log_probability(likelihood, model, rows, slices, shifts)
    deviation = likelihood.noise.deviation(model).double()
    images = all_images(likelihood.particles)[rows].double()
    ctf = likelihood.particles.ctf(rows, model.frequencies).double()
    exact_model = replace(model, frequencies=model.frequencies.double())
    for place, shift in enumerate(torch.from_numpy(shifts)):
        centred = exact_model.shift(exact_model.coefficients(images), shift)
        residual = centred[:, None] - ctf[:, None] * slices.values.double()
        brute = -0.5 * (residual / deviation).square().sum(-1)
        difference = torch.from_numpy(found[:, place]) - brute
        spread = difference.amax(1) - difference.amin(1)
        # nats, of log-probabilities that differ by hundreds
        assert spread.max() < 1e-2


def test_the_gradient_of_the_likelihood_is_that_of_float64(
    particles: Particles, true_map: Tensor, true_rotations: Tensor
) -> None:
    from napari_cryospin.engine.geometry.rotations import exponential_map
    from napari_cryospin.engine.geometry.slices import central_slices
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.models.volume import grid_of_map

    gradients = []
    for kind in (torch.float32, torch.float64):
        model = ImageModel.within(32, 10)
        model = replace(model, frequencies=model.frequencies.to(kind))
        omega = torch.zeros(4, 3, dtype=kind, requires_grad=True)
        poses = exponential_map(omega) @ true_rotations[:4].to(kind)
        slices = central_slices(grid_of_map(true_map).to(kind), poses, model.frequencies)
        observed = model.coefficients(all_images(particles)[:4].to(kind))
        ctf = particles.ctf(torch.arange(4), model.frequencies.float()).to(kind)
        (-0.5 * (observed - ctf * slices).square().sum()).backward()
        gradients.append(omega.grad.double())
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-2)


def test_white_noise_is_found_white(posteriors: ParticlePosteriors) -> None:
    variance = posteriors.grid.likelihood.noise.variance
    assert variance.shape == (16,)
    # 48 particles with a few dozen coefficients in a low shell
    assert variance[4:].mean() == pytest.approx(1, abs=0.08)
    assert (variance > 0.7).all() and (variance < 1.6).all()


def test_coloured_noise_is_found_by_shell(particles: Particles, true_map: Tensor) -> None:
    from napari_cryospin.engine.models.image import ImageModel

    model = ImageModel.within(32, 15)
    radius = model.frequencies.norm(dim=1)
    generator = torch.Generator().manual_seed(0)
    colour = torch.where(radius > 10, 2.0, 0.0)
    extra = colour * torch.randn(particles.n, len(radius), generator=generator)
    louder = with_images(particles, all_images(particles) + model.images(extra))
    posteriors = ParticlePosteriors(louder, PosteriorOptions(nside=4))
    posteriors.set_volume(true_map.numpy())
    variance = posteriors.grid.likelihood.noise.variance
    # what was added is not masked: its variance counts over the mask's power
    expected = 1 + 4 / particles.mask_power
    assert variance[12:].mean() == pytest.approx(expected, rel=0.1)
    assert variance[4:10].mean() == pytest.approx(1, abs=0.12)


def test_the_noise_is_that_of_the_particles_that_the_map_is_of(
    particles: Particles, true_map: Tensor
) -> None:
    images, own = all_images(particles), np.arange(0, particles.n, 2)
    # what a map of another class leaves of the others is not noise
    images[1::2] *= 3
    posteriors = ParticlePosteriors(
        with_images(particles, images), PosteriorOptions(nside=4, depth=16)
    )
    found = []
    for of in (None, own, np.empty(0, dtype=np.int64)):
        posteriors.set_volume(true_map.numpy(), of=of)
        found.append(float(posteriors.grid.likelihood.noise.variance[4:12].mean()))
    every, alone, nobody = found
    assert alone == pytest.approx(1, abs=0.2)
    assert every > 3
    assert nobody == every, "a class without particles is judged by all"


def test_figures_of_two_lots_are_those_of_all(posteriors: ParticlePosteriors) -> None:
    shifts, rows = np.zeros((200, 2)), np.arange(40)
    whole = summarise(posteriors, rows, shifts)
    lots = [summarise(posteriors, rows[start::2], shifts) for start in (1, 0)]
    joined = PosteriorSummary.joined(lots)
    assert np.array_equal(joined.rows, rows)
    assert joined.entropy == pytest.approx(whole.entropy, abs=1e-4)
    assert np.array_equal(joined.modes.counts, whole.modes.counts)


def test_a_poor_map_leaves_noise_and_broad_posteriors(
    particles: Particles, true_map: Tensor
) -> None:
    rows, shifts = np.arange(60), np.zeros((particles.n, 2))
    entropies = []
    noise = torch.randn(true_map.shape, generator=torch.Generator().manual_seed(3))
    for volume in (true_map, true_map + 10 * true_map.std() * noise):
        posteriors = ParticlePosteriors(particles, PosteriorOptions(nside=4))
        posteriors.set_volume(volume.numpy())
        entropies.append(np.median(summarise(posteriors, rows, shifts).entropy))
    assert entropies[1] > entropies[0] + 0.5


def test_a_symmetric_map_has_as_many_modes_as_its_symmetry(
    particles: Particles, true_map: Tensor, true_rotations: Tensor
) -> None:
    # symmetrised about z; the box is even, and its centre is at D/2
    turned = torch.rot90(torch.rot90(true_map[1:, 1:, 1:], 1, (1, 2)), 1, (1, 2))
    double = torch.zeros_like(true_map)
    double[1:, 1:, 1:] = 0.5 * (true_map[1:, 1:, 1:] + turned)
    posteriors = ParticlePosteriors(particles, PosteriorOptions(nside=4, depth=16))
    posteriors.set_volume(double.numpy())
    summary = summarise(posteriors, np.arange(100), np.zeros((particles.n, 2)))
    assert summary.multimodal_share > 0.6
    two = summary.modes.counts > 1
    rotations = summary.modes.rotations[two]
    angle, share = common_rotation(rotations[:, 0], rotations[:, 1], 35)
    assert angle == pytest.approx(180, abs=15)
    assert share > 0.8
    posterior = posteriors.particle(int(np.flatnonzero(two)[0]))
    assert posterior.mode_distances[1] > 140
    assert posterior.mode_weights.sum() == pytest.approx(1)
    assert list(posterior.mode_of(posterior.modes)) == list(range(len(posterior.modes)))


def test_modes_of_two_peaks() -> None:
    rotations = rotations_of_cells(np.arange(n_cells(4)), 4)
    centres = rotations[[10, 3000]]
    distance = angular_distance(rotations[:, None], centres[None])
    log_p = np.logaddexp(*(np.log([[0.7], [0.3]]) - (distance.T / 12) ** 2))
    modes = find_modes(torch.from_numpy(log_p).float()[None], 4)
    assert modes.counts[0] == 2
    assert list(modes.cells[0, :2]) == [10, 3000]
    assert modes.weights[0, 0] > modes.weights[0, 1] > 0.2


def test_shifts_are_marginalised(particles: Particles, true_map: Tensor) -> None:
    from napari_cryospin.engine.models.image import ImageModel

    model = ImageModel.within(32, 16)
    moved = model.images(
        model.shift(model.coefficients(all_images(particles)), torch.tensor([-1.5, 0.75]))
    )
    options = PosteriorOptions(nside=4, depth=32, shift_extent=3)
    posteriors = ParticlePosteriors(with_images(particles, moved), options)
    posteriors.set_volume(true_map.numpy(), np.tile((1.5, 0.75), (particles.n, 1)) * (1, -1))
    shifts = np.array([posteriors.particle(particle).best_shift for particle in range(12)])
    assert np.median(np.abs(shifts - (1.5, -0.75))) < 0.4


def test_temperature_flattens(posteriors: ParticlePosteriors) -> None:
    cold = posteriors.particle(0).entropy
    posteriors.options = replace(posteriors.options, temperature=50)
    assert posteriors.particle(0).entropy > cold + 1


def test_the_refined_posterior_is_calibrated(
    particles: Particles, true_map: Tensor, true_rotations: Tensor
) -> None:
    posteriors = ParticlePosteriors(particles, PosteriorOptions(nside=4, depth=256, enough=100))
    posteriors.set_volume(true_map.numpy())
    rows = np.arange(0, 200, 2)
    levels = credible_levels(posteriors, rows, np.zeros((particles.n, 2)), true_rotations.numpy())
    found = reliability(levels, np.array([0.5, 0.8, 0.95]))
    # three standard deviations of a share of 100 particles
    assert found == pytest.approx([0.5, 0.8, 0.95], abs=0.15)


def test_wrong_noise_is_not_calibrated(
    particles: Particles, true_map: Tensor, true_rotations: Tensor
) -> None:
    posteriors = ParticlePosteriors(particles, PosteriorOptions(nside=4, depth=256, enough=100))
    posteriors.set_volume(true_map.numpy(), noise=NoiseSpectrum(torch.full((16,), 0.1)))
    rows = np.arange(0, 200, 8)
    levels = credible_levels(posteriors, rows, np.zeros((particles.n, 2)), true_rotations.numpy())
    assert reliability(levels, np.array([0.8]))[0] < 0.6


def test_coverage_counts_hypotheses_in_order() -> None:
    truth = random_rotations(4, np.random.default_rng(0))
    other = random_rotations(4, np.random.default_rng(1))
    hypotheses = np.stack((other, truth), 1)
    hypotheses[0] = truth[0]
    hypotheses[3, 1] = np.nan
    assert list(coverage(hypotheses, truth, 5)) == [0.25, 0.75]


def test_in_plane_and_directions_are_marginals(posteriors: ParticlePosteriors) -> None:
    posterior = posteriors.particle(1)
    assert posterior.direction_probability.sum() == pytest.approx(1, abs=1e-4)
    pixel = int(posterior.direction_probability.argmax())
    psi, probability = posterior.in_plane(pixel)
    assert (np.diff(psi) > 0).all()
    total = posterior.direction_probability[pixel]
    assert probability.sum() == pytest.approx(total, rel=1e-4)
    assert posterior.peak_near(posterior.best_rotation[2]) == pixel
    assert posterior.best_in_plane[pixel] == psi[probability.argmax()]
    cell = cells_of_rotations(posterior.best_rotation[None], posterior.fine.nside)
    place = ancestors(cell, posterior.fine.nside, 4)[0]
    # the finest cell with the most need not lie in the grid's cell with the most
    assert place in np.argsort(-posterior.probability.ravel())[:8]


def test_slices_are_those_of_the_projector(posteriors: ParticlePosteriors) -> None:
    likelihood = posteriors.grid.likelihood
    shown = likelihood.projections(3, np.eye(3)[None], np.array([[2.0, 0.0]]))
    still = likelihood.projections(3, np.eye(3)[None], np.zeros((1, 2)))
    # an origin shift of +2 puts the content two pixels to the left
    assert torch.allclose(shown[0, :, 4:-4], still[0].roll(-2, 1)[:, 4:-4], atol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nside": 3}, "nside of a posterior must be a power of two, not 3"),
        ({"depth": 0}, "depth of a posterior must be a power of two, not 0"),
        ({"radius": 0.5}, "leaves nothing"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"shift_extent": -1.0}, "Shifts cannot reach -1 pixels"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PosteriorOptions(**options)
