"""Encoders are asked about particles whose shifts are not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.geometry.fourier import move_grid
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import exponential_map
from napari_cryospin.engine.inference.asking import Measure, ask
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.encoders.polar import PolarEncoder
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import grid_of_map, map_of_grid
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.sums.centring import common_offset, cross_products, turned_products

if TYPE_CHECKING:
    from pathlib import Path


def random_rotations(n: int) -> torch.Tensor:
    return exponential_map(2 * torch.randn(n, 3, generator=torch.Generator().manual_seed(3)))


class Knowing(PolarEncoder):
    """Knows the poses, some degrees off, and a wrong one beside each."""

    def __init__(self, rotations: torch.Tensor) -> None:
        super().__init__(32, heads=2, turns=1, width=8)
        turn = exponential_map(torch.tensor([[0.06, -0.05, 0.04]]))
        self.known = torch.stack((turn @ rotations, rotations.flip(0)), 1)

    def forward(self, seen: torch.Tensor, turn: torch.Tensor | None = None) -> Poses:
        return Poses.centred(self.known)


def test_images_are_moved_over_the_best_proposal(tmp_path: Path) -> None:
    volume = procedural_molecule(box=32, pixel_size=4.0)
    simulate(volume, tmp_path, n_particles=60, pixel_size=4.0, snr=1.0, shift_std=8.0, seed=1)
    settings = DataSettings(box=32)
    particles = prepare(read_table(tmp_path / "particles.star"), settings)
    truth = read_table(tmp_path / "truth.star")
    assert truth.rotations is not None and truth.shifts is not None
    rotations, shifts = torch.from_numpy(truth.rotations).float(), truth.shifts / 4.0
    model, rows = ImageModel.within(32, 8), torch.arange(60)
    seen = particles.observed(rows, model)
    predicted = seen.ctf * model.project(
        grid_of_map(torch.from_numpy(volume)).float(),
        Poses(rotations, torch.from_numpy(shifts).float()),
    )
    scale = float((predicted * seen.coefficients).sum() / predicted.square().sum())
    grid = grid_of_map(scale * torch.from_numpy(volume)).float()
    measure = Measure(model, slicer(grid), NoiseSpectrum.white(32))
    told = {
        rounds: ask(
            Knowing(rotations).eval(),
            particles,
            rows,
            measure,
            scales=torch.ones(60),
            origins=torch.zeros(60, 2),
            spread=2.0,
            rounds=rounds,
        )
        for rounds in (0, 2)
    }
    off = (told[2].candidates.shifts[:, 0] - torch.from_numpy(shifts)).norm(dim=1)
    assert float(off.median()) < 0.2
    assert float((off < 0.7).float().mean()) > 0.95
    # at their places the right heads win, and at the middle of the image many do not
    right = {
        rounds: float((each.errors.argmin(1) == 0).float().mean()) for rounds, each in told.items()
    }
    assert right[2] > 0.95 > right[0]


def test_products_at_all_shifts_are_those_of_moved_images() -> None:
    model = ImageModel.within(32, 9)
    generator = torch.Generator().manual_seed(0)
    image, reference = torch.randn(2, 3, len(model.frequencies), generator=generator)
    everywhere = cross_products(model, turned_products(image, reference)).unflatten(1, (32, 32))
    for x, y in ((0, 0), (3, -2), (-5, 7)):
        moved = model.shift(image, torch.tensor([[float(x), float(y)]]))
        there = everywhere[:, 16 - y, 16 - x]
        assert torch.allclose(there, (moved * reference).sum(1), atol=1e-3)


def test_what_shifts_have_in_common_is_where_the_map_lies() -> None:
    rotations, offset = random_rotations(200), torch.tensor([0.7, -1.2, 0.4])
    own = torch.randn(200, 2, generator=torch.Generator().manual_seed(1))
    own -= (rotations @ common_offset(rotations, own))[:, :2]
    shifts = own + (rotations @ offset)[:, :2]
    assert torch.allclose(common_offset(rotations, shifts), offset, atol=1e-4)


def test_a_map_and_its_shifts_move_together() -> None:
    grid = grid_of_map(torch.from_numpy(procedural_molecule(box=32, pixel_size=4.0))).float()
    model, rotations = ImageModel.within(32, 10), random_rotations(5)
    offset = torch.tensor([1.5, -0.5, 2.0])
    here = model.project(grid, Poses.centred(rotations))
    # but for the window of the interpolation, which stays where it is
    shifts = (rotations @ offset)[:, :2]
    there = model.project(move_grid(grid, -offset), Poses(rotations, -shifts))
    assert float((here - there).norm() / here.norm()) < 0.1


def test_a_map_is_moved_by_whole_voxels() -> None:
    volume = torch.from_numpy(procedural_molecule(box=32, pixel_size=4.0))
    moved = map_of_grid(move_grid(grid_of_map(volume).float(), torch.tensor([2.0, 0.0, -1.0])))
    expected = volume.roll((-1, 0, 2), (0, 1, 2))
    assert float((moved - expected).norm() / expected.norm()) < 0.1


@pytest.mark.parametrize("rounds", [0, 3])
def test_known_shifts_stay(rounds: int, small_stack: Path) -> None:
    particles = prepare(read_table(small_stack / "particles.star"), DataSettings(box=32))
    measure = Measure(ImageModel.within(32, 6), slicer(torch.zeros(33, 33, 33)))
    told = ask(
        Knowing(random_rotations(20)).eval(),
        particles,
        torch.arange(20),
        measure,
        scales=torch.ones(20),
        origins=torch.ones(20, 2),
        spread=None,
        rounds=rounds,
    )
    assert torch.equal(told.candidates.shifts[:, 0], torch.ones(20, 2))
