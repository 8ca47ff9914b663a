"""A symmetry of a map: true where particles have it, pseudo where they have not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from assemblies import BOX, assembly, turned_away
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame
from napari_cryospin.engine.geometry.symmetry_search import likely_groups
from napari_cryospin.engine.judging.halves import HalfMaps
from napari_cryospin.engine.judging.symmetry import MapSymmetry, find_symmetry, half_correlation
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import HartleyVolume
from napari_cryospin.engine.settings import DataSettings, ModelSettings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")
N = 400


def found_in(
    folder: Path, volume: np.ndarray, snr: float = 0.3, *, held: int = 80
) -> MapSymmetry | None:
    """Return the symmetry found in the map of particles at their true poses."""
    simulate(volume, folder, n_particles=N, pixel_size=4.0, snr=snr, shift_std=0.0, seed=2)
    particles = prepare(read_star(folder / "particles.star"), DataSettings(box=BOX))
    poses = PoseTable.empty(N, 1, CPU)
    truth = read_star(folder / "truth.star").rotations
    assert truth is not None
    poses.rotations = torch.from_numpy(truth).float()
    held_out = torch.arange(N) < held
    map_of_all = HartleyVolume(BOX, torch.ones(BOX), torch.Generator())
    halves = HalfMaps.of(particles, poses, ~held_out)
    map_of_all.assign(torch.stack(halves.grids).mean(0))
    model = ModelSettings(shifts=False)
    problem = Problem(particles, map_of_all, poses, held_out, model, 0)
    rows = (~held_out).nonzero().flatten(), held_out.nonzero().flatten()
    return find_symmetry(problem, halves, rows, NoiseSpectrum.white(BOX, CPU), BOX)


@pytest.mark.parametrize("name", ["C3", "D2"])
def test_a_symmetry_of_the_particles_is_true(tmp_path: Path, name: str) -> None:
    found = found_in(tmp_path / "stack", turned_away(assembly(name)))
    assert found is not None and found.name == name
    assert found.true and not found.pseudo and not found.missed
    assert found.correlation > 0.9 * found.allowed
    assert found.gain is not None and found.gain > 0
    turns = found.mates.turns
    assert len(turns) == len(point_group(name))
    main = angular_distance(turns, np.eye(3)) > 1
    # the main axis stays where it is
    stays = [abs(turn @ found.axis @ np.array(found.axis)) for turn in turns[main]]
    assert max(stays) > 0.99


def test_one_that_particles_have_not_is_pseudo(tmp_path: Path) -> None:
    found = found_in(tmp_path / "stack", turned_away(assembly("C3", other=True)))
    assert found is not None and found.name == "C3"
    assert found.pseudo and not found.true
    assert found.correlation < 0.9 * found.allowed
    assert found.gain is not None and found.gain < -3


def test_one_stays_where_too_little_is_known_in_the_frame_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_another(shown: np.ndarray, least: int) -> list[tuple[str, SymmetryFrame]]:
        found = likely_groups(shown, least)
        return [*found, ("C2", dict(found)["C3"])]

    def known_of_others(halves: HalfMaps, group: np.ndarray, *where: Any) -> Any:
        return None if len(group) == 2 else half_correlation(halves, group, *where)

    monkeypatch.setattr("napari_cryospin.engine.judging.symmetry.half_correlation", known_of_others)
    monkeypatch.setattr("napari_cryospin.engine.judging.symmetry.likely_groups", with_another)
    found = found_in(tmp_path / "stack", turned_away(assembly("C3")), held=0)
    assert found is not None and found.name == "C3" and found.true


def test_without_held_out_particles_the_map_alone_tells(tmp_path: Path) -> None:
    found = found_in(tmp_path / "stack", turned_away(assembly("C3")), held=0)
    assert found is not None and found.name == "C3" and found.true
    assert found.gain is None


def test_a_map_without_symmetry_has_none(tmp_path: Path) -> None:
    found = found_in(tmp_path / "stack", turned_away(assembly("C1", seed=3)))
    assert found is None or not (found.true or found.missed)


@pytest.mark.parametrize(
    ("correlation", "gain", "told"),
    [
        (0.97, 0.4, "true"),
        (0.97, -0.1, "true"),
        (0.97, -3.0, "pseudo"),
        (0.85, 0.4, "true"),
        (0.85, -0.1, "pseudo"),
        (0.70, -20.0, "pseudo"),
        (0.70, 6.0, "missed"),
        (0.20, 6.0, "missed"),
        (0.20, 0.2, ""),
        (0.20, -20.0, ""),
    ],
)
def test_what_a_symmetry_is_told_as(correlation: float, gain: float, told: str) -> None:
    frame = SymmetryFrame(np.eye(3), np.zeros(3), correlation)
    found = MapSymmetry("C4", frame, correlation, 0.98, gain, 0.1)
    assert [kind for kind in ("true", "pseudo", "missed") if getattr(found, kind)] == [
        kind for kind in (told,) if kind
    ]
