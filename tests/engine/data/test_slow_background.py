"""Slow backgrounds: told where they are strong, removed there, and left alone elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.nuisances import Noise, Nuisances
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.slow_background import slow_share, without_slow
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

BOX = 64


def made(folder: Path, n: int = 200, snr: float = 0.1, **nuisances: object) -> torch.Tensor:
    simulate(
        procedural_molecule(BOX, 6.0), folder, n_particles=n, pixel_size=6.0, snr=snr, seed=3,
        nuisances=Nuisances(**nuisances),
    )  # fmt: skip
    return torch.from_numpy(mrcfile.read(folder / "particles.mrcs"))


@pytest.mark.parametrize("noise", list(Noise))
@pytest.mark.parametrize("diameter", [64, 48])
def test_it_is_told_and_removed(tmp_path: Path, noise: Noise, diameter: float) -> None:
    images = made(tmp_path / "stack", noise=noise, background=1.0)
    # half of the power; ramps fit part of waves that long
    assert 0.2 < slow_share(images, diameter) < 0.5
    assert slow_share(without_slow(images), diameter) == 0


@pytest.mark.parametrize("noise", list(Noise))
def test_noise_junk_neighbours_and_ramps_are_none(tmp_path: Path, noise: Noise) -> None:
    images = made(tmp_path / "stack", noise=noise, junk=0.3, neighbours=0.5, ice=0.2, ramp=0.5)
    assert slow_share(images, BOX) == 0
    # few images tell nothing, nor do those without numbers or noise, nor small ones
    assert slow_share(made(tmp_path / "few", n=19, background=1.0), BOX) == 0
    assert slow_share(images * torch.nan, BOX) == slow_share(images * 0, BOX) == 0
    assert slow_share(images[:, :16, :16], 16) == 0


def test_what_surrounds_particles_without_noise_is_theirs(tmp_path: Path) -> None:
    assert slow_share(made(tmp_path / "stack", snr=1e4), BOX) == 0


def test_all_that_it_is_goes_and_what_is_faster_stays() -> None:
    line = (torch.arange(BOX) + 0.5) / BOX - 0.5
    slow = (1 + line + line**3)[:, None] * (line**2 - 2 * line)
    fast = torch.cos(2 * np.pi * 8 * line)[:, None] * torch.cos(2 * np.pi * 9 * line)
    left = without_slow((100 * slow + fast)[None])[0]
    assert (left - fast).square().mean() < 0.01 * fast.square().mean()


def test_a_stack_is_freed_of_it_and_a_note_tells(tmp_path: Path) -> None:
    kept = {}
    for name, background in (("without", 0.0), ("with", 1.0)):
        made(tmp_path / name, background=background)
        stack = tmp_path / name / "particles.star"
        particles = prepare(read_table(stack), DataSettings(stack=stack, box=32))
        told = [note for note in particles.notes if "A background of low frequency" in note]
        assert len(told) == (name == "with")
        kept[name] = particles.images(torch.arange(200)).flatten(1)
    # the images are nearly what they would be without it
    likeness = torch.nn.functional.cosine_similarity(kept["with"], kept["without"])
    assert likeness.median() > 0.9
