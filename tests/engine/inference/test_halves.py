"""Two halves that share nothing beyond a low frequency."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.member import APART
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.evaluation.fsc import frequency_shells, fsc
from napari_cryospin.engine.inference.halves import AutoDecoding, IndependentHalves
from napari_cryospin.engine.inference.interface import Place
from napari_cryospin.engine.judging.halves import HalfMaps
from napari_cryospin.engine.models.backprojection import sphere
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map, map_of_grid
from napari_cryospin.engine.run.checkpoint_reading import require_like
from napari_cryospin.engine.run.training import signal_amplitude
from napari_cryospin.engine.settings import DataSettings, ModelSettings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.stages import DirectStage
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from napari_cryospin.engine.sums.centring import first_origins
from particle_images import all_images, with_images

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.inference.interface import PoseInference

N, BOX, LIMIT, EPOCHS = 600, 32, 10, 5
STAGE = DirectStage(
    volume_update="closed form",
    pose_update="gauss-newton",
    pose_steps=2,
    hypotheses=3,
    searches=2,
    until="criterion",
    epochs=EPOCHS,
    batch_size=500,
)
ROWS = torch.arange(N)
SECOND = ROWS % 2 == 1


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Particles:
    """Particles whose poses are uncertain: they can be turned to fit what is not in them."""
    folder = tmp_path_factory.mktemp("noisy")
    molecule = procedural_molecule(box=BOX, pixel_size=4.0)
    simulate(molecule, folder, n_particles=N, pixel_size=4.0, snr=0.05, shift_std=0.0, seed=3)
    return prepare(read_table(folder / "particles.star"), DataSettings(box=BOX))


def half_of_noise(particles: Particles, seed: int) -> Particles:
    """Return particles of which one half holds noise beyond the limit in place of signal."""
    model = ImageModel.within(BOX, BOX / 2)
    images = all_images(particles).clone()
    coefficients = model.coefficients(images[SECOND])
    noise = torch.randn(coefficients.shape, generator=torch.Generator().manual_seed(seed))
    low = model.frequencies.norm(dim=1) <= LIMIT
    images[SECOND] = model.images(torch.where(low, coefficients, noise))
    return with_images(particles, images)


def refined(particles: Particles, *, halves: bool) -> tuple[Problem, PoseInference]:
    """Refine particles from the low frequencies of the true map."""
    volume = HartleyVolume(BOX, signal_amplitude(particles, ROWS), torch.Generator().manual_seed(0))
    truth = grid_of_map(torch.from_numpy(procedural_molecule(box=BOX, pixel_size=4.0)).float())
    low = torch.where(volume.radius < LIMIT, truth, 0)
    power = volume.amplitude[2:LIMIT].square().sum()
    volume.assign(low * (power / low[volume.radius > 1].square().mean() / LIMIT).sqrt())
    poses = PoseTable.empty(N, 1, torch.device("cpu"))
    none = torch.zeros(N, dtype=torch.bool)
    model = ModelSettings(shifts=False, outliers=False, halves=halves)
    problem = Problem(particles, volume, poses, none, model, 0)
    inference = AutoDecoding.of_stage(problem, STAGE, None, 0)
    inference.begin()
    for epoch in range(EPOCHS):
        train(inference, epoch)
    return problem, inference


def train(inference: PoseInference, epoch: int, rows: Tensor = ROWS) -> None:
    """Train an epoch."""
    place = Place(epoch, epoch / EPOCHS)
    for _ in inference.begin_epoch(place, rows):
        pass
    inference.set_place(place)
    for batch in inference.batches(rows, torch.Generator().manual_seed(epoch)):
        inference.train_batch(batch)
    inference.end_epoch(rows)


def beyond_the_limit(problem: Problem) -> tuple[float, float]:
    """Return the mean FSC of the half-maps beyond the limit, and its standard error."""
    made = HalfMaps.of(problem.particles, problem.poses, torch.ones(N, dtype=torch.bool))
    one, two = (map_of_grid(grid).numpy() for grid in made.grids)
    shells = np.arange(LIMIT + 2, BOX // 2)
    numbers = np.bincount(frequency_shells(BOX).ravel())[shells]
    # of a real map half of the coefficients are independent, and within a sphere as many as fill it
    independent = float(sphere(BOX).mean()) * numbers.sum() / 2
    mean = float(np.average(fsc(one, two)[shells], weights=numbers))
    return mean, 1 / np.sqrt(2 * independent)


def test_what_one_half_holds_beyond_the_limit_does_not_come_into_the_other(
    noisy: Particles,
) -> None:
    def correlation(*, halves: bool) -> tuple[float, float]:
        found = [
            beyond_the_limit(refined(half_of_noise(noisy, seed), halves=halves)[0])
            for seed in (0, 1)
        ]
        mean, error = np.mean(found, 0)
        return mean, error / np.sqrt(len(found))

    mean, error = correlation(halves=True)
    assert abs(mean) < 3 * error
    # one map for both turns the noise of one half to fit the signal of the other
    mean, error = correlation(halves=False)
    assert mean > 4 * error


def begun(problem: Problem, *, shifts: bool = False, **settings: object) -> IndependentHalves:
    """Return two halves of the small stack that begin their stage."""
    model = problem.model.model_copy(update={"shifts": shifts, "outliers": False, "halves": True})
    stage = STAGE.model_copy(update=settings)
    inference = AutoDecoding.of_stage(replace(problem, model=model), stage, None, 0)
    assert isinstance(inference, IndependentHalves)
    inference.begin()
    return inference


@pytest.mark.usefixtures("small_searches")
def test_halves_that_begin_in_the_midst_of_a_stage_are_searched_as_at_its_beginning(
    problem: Problem,
) -> None:
    """As in a branch with other settings, where the epochs of the stage count on."""
    inference, rows = begun(problem, searched="doubtful"), torch.arange(problem.particles.n)
    assert inference.shared_radius is None
    train(inference, 3, rows)
    assert inference.shared_radius == LIMIT
    # what was found by low frequencies is looked at once more, by all
    assert [half.searches.limit for half in inference._halves] == [math.inf] * 2
    for half in inference._halves:
        assert half.searches.go_on(0.0, half.radius)
        assert half.searches.due(1)
    assert inference.searches_left == 1
    train(inference, 4, rows)
    assert [half.searches.at for half in inference._halves] == [1, 1]


@pytest.mark.usefixtures("small_searches")
def test_a_half_that_gets_particles_later_is_searched_then(problem: Problem) -> None:
    inference, rows = begun(problem), torch.arange(problem.particles.n)
    one, two = inference._halves
    train(inference, 0, rows[one.problem.part])
    assert inference.shared_radius is None
    assert (one.searches.at, two.searches.at) == (0, None)
    two_again = begun(problem)
    two_again.load_state(inference.state())
    two = two_again._halves[1]
    train(two_again, 1, rows)
    assert two_again.shared_radius == LIMIT
    assert two.searches.at == 0 and two.searches.limit == math.inf
    assert bool(two.searches._known[two.problem.rows].all())


@pytest.mark.usefixtures("small_searches")
def test_a_half_of_a_single_particle_goes_on(problem: Problem) -> None:
    """Nobody is in doubt of it when poses are looked at once more."""
    inference = begun(problem, shifts=True, searched="doubtful")
    one, two = (half.problem.rows for half in inference._halves)
    alone = two[~problem.held_out[two]][:1]
    for epoch in range(EPOCHS):
        train(inference, epoch, torch.cat((one, alone)))
    assert inference._halves[1].searches.at is not None
    assert not bool(problem.volume.grid().isnan().any())
    assert bool(problem.poses.losses[one].isfinite().all())
    assert bool(problem.poses.losses[alone].isfinite().all())


@pytest.mark.parametrize("before", ["halves", "one map"])
def test_what_was_known_of_the_noise_goes_on_below_the_limit_alone(
    problem: Problem, before: str
) -> None:
    """Halves that begin anew would else take all that images hold for noise."""
    state = begun(problem).state()
    state["halves"][0]["noise"] = torch.full((BOX // 2,), 0.25)
    state["halves"][1]["noise"] = torch.full((BOX // 2,), 0.75)
    if before == "one map":
        state = {"noise": torch.full((BOX // 2,), 0.5)}
    inference = begun(problem)
    told = [half.noise.variance.clone() for half in inference._halves]
    inference.adopt(state)
    for half, own in zip(inference._halves, told, strict=True):
        assert (half.noise.variance[: LIMIT + 1] == 0.5).all()
        assert torch.equal(half.noise.variance[LIMIT + 1 :], own[LIMIT + 1 :])


def test_one_map_goes_on_with_the_noise_of_halves(problem: Problem) -> None:
    state = begun(problem).state()
    state["halves"][0]["noise"] = torch.full((BOX // 2,), 0.25)
    state["halves"][1]["noise"] = torch.full((BOX // 2,), 0.75)
    model = problem.model.model_copy(update={"halves": False})
    inference = AutoDecoding.of_stage(replace(problem, model=model), STAGE, None, 0)
    inference.begin()
    inference.adopt(state)
    assert (inference.noise.variance == 0.5).all()
    # a half without particles knows nothing
    state["present"] = [False, True]
    inference.adopt(state)
    assert (inference.noise.variance == 0.75).all()


@pytest.mark.usefixtures("small_searches")
def test_a_half_that_no_map_learns_from_knows_nothing_of_the_noise(problem: Problem) -> None:
    inference = begun(problem)
    rows, held_out = torch.arange(problem.particles.n), problem.held_out
    # those that are held out are all of one half
    other, own = sorted(inference._halves, key=lambda half: int(held_out[half.problem.rows].sum()))
    before, told = own.problem.grids.clone(), own.noise.variance.clone()
    shown = problem.volume.grid().clone()
    train(inference, 0, rows[other.problem.part | held_out])
    assert torch.equal(own.noise.variance, told)
    assert torch.equal(own.problem.grids, before)
    # the other one makes its map, which is that of the problem
    assert torch.equal(inference.noise.variance, other.noise.variance)
    assert not torch.equal(problem.volume.grid(), shown)
    assert own.searches.at == other.searches.at == 0
    # and where nobody is left of a half
    own._noise = NoiseSpectrum(torch.full((BOX // 2,), 9.0))
    train(inference, 1, rows[other.problem.part])
    assert torch.equal(inference.noise.variance, other.noise.variance)
    train(inference, 2, rows)
    assert len(inference._there) == 2
    assert own.noise.variance.max() < 5 and not torch.equal(own.problem.grids, before)


@pytest.mark.usefixtures("small_searches")
def test_the_search_of_a_half_leaves_the_winners_of_the_other(problem: Problem) -> None:
    """A single hypothesis is no candidate: each search makes room for one, and takes it away."""
    inference, rows = begun(problem, hypotheses=1), torch.arange(problem.particles.n)
    train(inference, 0, rows[10:])
    assert (problem.poses.winner[10:] == 0).all()
    assert (problem.poses.winner[:10] == -1).all()
    train(inference, 1, rows)
    assert (problem.poses.winner == 0).all()
    assert problem.poses.candidates.shape[1] == 0


@pytest.mark.usefixtures("small_searches")
def test_those_who_were_dropped_tell_a_half_nothing(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither noise nor where the middles are; no more do those who were said not to belong."""
    asked: list[tuple[Tensor, Tensor]] = []

    def recorded(particles: Particles, rows: Tensor, learning: Tensor) -> Tensor:
        asked.append((rows, learning))
        return first_origins(particles, rows, learning)

    monkeypatch.setattr("napari_cryospin.engine.inference.halves.first_origins", recorded)
    inference, rows = begun(problem, shifts=True), torch.arange(problem.particles.n)
    assert not asked
    problem.poses.say(rows[60:70], APART)
    # a run that was stopped before its first epoch goes on alike
    later = begun(problem, shifts=True)
    inference.adopt({"noise": torch.full((BOX // 2,), 0.5)})
    later.load_state(inference.state())
    list(later.begin_epoch(Place(0, 0.0), rows[50:]))
    for half, (own, learning) in zip(later._halves, asked, strict=True):
        # who comes back has none of what was known before
        assert torch.equal(own, half.problem.rows)
        wanted = own[(own >= 50) & ((own < 60) | (own >= 70)) & ~problem.held_out[own]]
        assert torch.equal(learning, wanted)
        told = problem.particles.noise(wanted).variance
        assert (half.noise.variance[: LIMIT + 1] == 0.5).all()
        assert torch.equal(half.noise.variance[LIMIT + 1 :], told[LIMIT + 1 :])
    # once, also of a run that is gone on with
    again = begun(problem, shifts=True)
    again.load_state(later.state())
    list(again.begin_epoch(Place(0, 0.0), rows))
    assert len(asked) == 2


def test_a_state_of_an_earlier_version_is_taken_in(problem: Problem) -> None:
    """Halves told their noise, and where the middles are, before the first epoch."""
    before, inference = begun(problem), begun(problem)
    state = {k: v for k, v in before.state().items() if k in ("halves", "maps", "both", "present")}
    require_like(inference.state(), inference.completed(state))
    inference.load_state(state)
    told = [half.noise.variance.clone() for half in inference._halves]
    next(inference.begin_epoch(Place(0, 0.0), torch.arange(problem.particles.n)))
    for half, own in zip(inference._halves, told, strict=True):
        assert torch.equal(half.noise.variance, own)
