"""Runs apart that are told of a symmetry: they find one that the run's own map does not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from assemblies import BOX, assembly
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.geometry.hand import MIRROR
from napari_cryospin.engine.geometry.rotations import angular_distance, exponential_map
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame
from napari_cryospin.engine.judging.halves import HalfMaps
from napari_cryospin.engine.judging.symmetry import MapSymmetry
from napari_cryospin.engine.run import symmetry_trials
from napari_cryospin.engine.run.symmetry_trials import tried_symmetry, worth_a_trial
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.state.problem import evenly_spread

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings

N = 400
# how the map of the run is turned, and moved
TURN = SymmetryFrame(
    exponential_map(torch.tensor([[0.4, -0.3, 0.8]]))[0].double().numpy(),
    np.array([0.7, -0.4, 0.5]),
    0.0,
)


@pytest.fixture(autouse=True)
def _one_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetry_trials, "_TRIED", ("O",))


def run_of(folder: Path, settings: Settings, name: str, *, mirrored: bool = False) -> Training:
    """Return a run of an assembly that went to one of its units, each pose some degrees off."""
    volume = assembly(name, seed=3)
    simulate(volume, folder, n_particles=N, pixel_size=4.0, snr=1.0, shift_std=0.0, seed=2)
    particles = prepare(read_star(folder / "particles.star"), DataSettings(box=BOX))
    training = Training(particles, settings)
    truth = read_star(folder / "truth.star").rotations
    assert truth is not None
    if mirrored:
        truth = MIRROR @ truth @ MIRROR
    mates = np.einsum("nij,gjk->ngik", truth, point_group(name))
    in_one_unit = mates[np.arange(N), np.einsum("ngii->ng", mates).argmax(1)]
    rotations = torch.from_numpy(in_one_unit @ TURN.rotation.T).float()
    middle = torch.from_numpy(TURN.middle).float()
    draw = torch.Generator().manual_seed(1)
    off = exponential_map(0.1 * torch.randn(N, 3, generator=draw))
    poses = training.poses
    poses.rotations, poses.shifts = rotations @ off, (rotations @ middle)[:, :2]
    poses.losses = torch.zeros(N)
    return training


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_symmetry_that_a_bent_map_does_not_show(
    tmp_path: Path, settings: Settings, *, mirrored: bool
) -> None:
    settings.model.shifts = True
    training = run_of(tmp_path / "stack", settings, "O", mirrored=mirrored)
    before = {name: value.clone() for name, value in training.poses.state().items()}
    halves = HalfMaps.of(training.particles, training.poses, training.placed)
    found = tried_symmetry(training, halves, BOX)
    assert found is not None and found.name == "O" and found.proven
    # its axes are those of the run's own map, of whichever hand that is
    frames = TURN.rotation @ point_group("O")
    if mirrored:
        frames = frames @ -MIRROR
    assert angular_distance(frames, found.frame.rotation).min() < 4
    assert np.abs(found.frame.middle - TURN.middle).max() < 0.3
    # the run that asks is left as it was
    for name, value in training.poses.state().items():
        assert torch.equal(value.nan_to_num(), before[name].nan_to_num())
    assert training.settings.model.symmetry == "C1"


def test_particles_that_have_none_show_none(tmp_path: Path, settings: Settings) -> None:
    training = run_of(tmp_path / "stack", settings, "C1")
    halves = HalfMaps.of(training.particles, training.poses, training.placed)
    assert tried_symmetry(training, halves, BOX) is None
    few = evenly_spread(torch.arange(N), 200)
    used = torch.zeros(N, dtype=torch.bool)
    used[few] = True
    training.choose(used.numpy())
    halves = HalfMaps.of(training.particles, training.poses, training.placed)
    assert tried_symmetry(training, halves, BOX) is None


def test_half_maps_that_agree_too_little_tell_no_correlation(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, told in (
        ("train_apart", None),
        ("gain_of", torch.tensor([5.0, 6.0, 5.5])),
        ("_frame", TURN),
        ("half_correlation", None),
    ):
        monkeypatch.setattr(symmetry_trials, name, lambda *_, told=told: told)
    training = run_of(tmp_path / "stack", settings, "O")
    halves = HalfMaps.of(training.particles, training.poses, training.placed)
    found = tried_symmetry(training, halves, BOX)
    assert found is not None and (found.correlation, found.allowed) == (None, None)
    assert found.missed and found.proven
    assert not found.alike and not found.true and not found.pseudo


@pytest.mark.parametrize(
    ("told", "shown", "sampling", "converged", "tried"),
    [
        ("C1", None, 0.02, False, True),
        ("C1", None, 0.02, True, True),
        ("C1", None, 0.5, False, False),
        ("C1", "C3", 0.9, False, True),
        ("C1", "C3", 0.9, True, False),
        # a ring that is bent: it is known what is missed
        ("C1", "C7", 0.02, False, False),
        ("C4", None, 0.02, False, True),
        ("C5", None, 0.02, False, False),
        ("O", None, 0.02, False, False),
    ],
)
def test_who_is_worth_a_trial(
    told: str, shown: str | None, sampling: float, *, converged: bool, tried: bool
) -> None:
    found = None
    if shown is not None:
        found = MapSymmetry(shown, SymmetryFrame(np.eye(3), np.zeros(3), 0.9), 0.97, 0.98, 1.0, 0.1)
    assert worth_a_trial(told, found, sampling, converged=converged) is tried
