"""Linear ramps: told where there are any, removed there, and left alone elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import pytest
import torch

from napari_cryospin.engine.data import preprocess
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.normalise import background
from napari_cryospin.engine.data.nuisances import Noise, Nuisances
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.ramps import ramp_share, without_ramps
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

BOX = 64


def made(folder: Path, n: int = 400, **nuisances: object) -> torch.Tensor:
    volume = procedural_molecule(BOX, 6.0)
    simulate(
        volume, folder, n_particles=n, pixel_size=6.0, snr=0.1, seed=3,
        nuisances=Nuisances(**nuisances),
    )  # fmt: skip
    return torch.from_numpy(mrcfile.read(folder / "particles.mrcs"))


@pytest.mark.parametrize("noise", list(Noise))
@pytest.mark.parametrize("ramp", [0.15, 0.3])
@pytest.mark.parametrize("diameter", [64, 48])
def test_ramps_are_told_and_removed(
    tmp_path: Path, noise: Noise, ramp: float, diameter: float
) -> None:
    images = made(tmp_path / "stack", noise=noise, ramp=ramp)
    # the background lies farther out than the rest
    line = (torch.arange(BOX) - BOX // 2).expand(BOX, BOX)
    farther = line[background(BOX, diameter)].square().float().mean() / line.square().float().mean()
    power = ramp**2 * float(farther)
    expected = power / (1 + power)
    assert ramp_share(images, diameter) == pytest.approx(expected, rel=0.25, abs=0.003)
    assert ramp_share(without_ramps(images, diameter), diameter) == 0


@pytest.mark.parametrize("noise", list(Noise))
def test_noise_junk_and_neighbours_are_no_ramps(tmp_path: Path, noise: Noise) -> None:
    images = made(tmp_path / "stack", noise=noise, junk=0.3, neighbours=0.5, ice=0.2)
    assert ramp_share(images, BOX) == 0
    # few images tell nothing, nor do those without numbers or noise
    assert ramp_share(made(tmp_path / "few", n=19, ramp=0.5), BOX) == 0
    assert ramp_share(images * torch.nan, BOX) == ramp_share(images * 0, BOX) == 0


def test_only_the_ramp_goes(tmp_path: Path) -> None:
    images = torch.randn(5, BOX, BOX, generator=torch.Generator().manual_seed(0)) + 3
    line = (torch.arange(BOX) - BOX // 2) / BOX
    ramp = 4 * line - 2 * line[:, None]
    plain, found = without_ramps(images, 50), without_ramps(images + ramp, 50)
    torch.testing.assert_close(plain, found, atol=1e-4, rtol=0)
    assert (plain - images).abs().max() < 0.5


def test_it_is_said_and_images_without_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "with", ramp=0.4, noise=Noise.COLOURED)
    made(tmp_path / "without", noise=Noise.COLOURED)
    found = {
        name: prepare(read_table(tmp_path / name / "particles.star"), DataSettings(box=32))
        for name in ("with", "without")
    }
    (note,) = (note for note in found["with"].notes if "ramps" in note)
    assert "removed" in note and "% of the power of the background" in note
    assert not any("ramps" in note for note in found["without"].notes)
    rows = torch.arange(400)
    # the lowest shell has nearly the noise that it has without ramps; left in, they would rule it
    monkeypatch.setattr(preprocess, "ramp_share", lambda *_: 0.0)
    found["left"] = prepare(read_table(tmp_path / "with" / "particles.star"), DataSettings(box=32))
    removed, without, left = (float(each.noise(rows).variance[1]) for each in found.values())
    assert removed == pytest.approx(without, rel=0.3) and left > 2 * without
