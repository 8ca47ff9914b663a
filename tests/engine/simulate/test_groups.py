"""Optics groups of a simulated stack: noise of their own, micrographs with a defocus each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.nuisances import Nuisances
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

BOX, N = 32, 900


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups") / "stack"
    made(folder, groups=3)
    return folder


def made(folder: Path, snr: float = 1e-4, **options: object) -> None:
    simulate(
        procedural_molecule(BOX, 6.0), folder, n_particles=N, pixel_size=6.0, snr=snr, seed=1,
        nuisances=Nuisances(**options),
    )  # fmt: skip


def test_noise_differs_in_strength_and_colour(stack: Path) -> None:
    images = mrcfile.read(stack / "particles.mrcs").astype(np.float64)
    groups = read_star(stack / "particles.star").optics_index
    assert np.bincount(groups).tolist() == [300, 300, 300]
    variances = np.array([images[groups == group].var() for group in range(3)])
    assert np.allclose(variances / variances[0], [1, 2, 4], rtol=0.03)
    # on average it is what the SNR says
    k = np.fft.fftfreq(BOX)
    slow = np.hypot(k[:, None], k) < 0.15
    power = [(abs(np.fft.fft2(images[groups == group])) ** 2).mean(0) for group in range(3)]
    ratios = np.array([each[slow].mean() / each[~slow].mean() for each in power])
    # white, more of the slow, more of the fast
    assert ratios[0] == pytest.approx(1, rel=0.05) and ratios[1] > 2 and ratios[2] < 0.7


def test_micrographs_are_named_and_have_a_defocus_each(stack: Path) -> None:
    for name in ("particles", "truth"):
        table = read_star(stack / f"{name}.star")
        names = np.array(list(table.original.blocks["particles"]["rlnMicrographName"]))
        assert names[0] == "micrograph00001.mrc" and len(set(names)) == N // 100
        assert [group.name for group in table.optics] == [f"simulated{n}" for n in (1, 2, 3)]
        # all of a micrograph are of one group
        assert all(len(set(table.optics_index[names == each])) == 1 for each in set(names))
    mean = (table.defocus.u + table.defocus.v) / 2
    of_each = np.array([mean[names == each].mean() for each in sorted(set(names))])
    within = np.array([mean[names == each].std() for each in sorted(set(names))])
    assert within.max() < 250 and of_each.std() > 1000


def test_the_snr_is_that_of_all_groups_together(tmp_path: Path) -> None:
    made(tmp_path / "clean", snr=1e8, groups=2)
    made(tmp_path / "noisy", snr=0.5, groups=2)
    clean, noisy = (
        mrcfile.read(tmp_path / name / "particles.mrcs").astype(np.float64)
        for name in ("clean", "noisy")
    )
    # of 900 particles a hundred more are in the first group
    assert clean.var() / (noisy - clean).var() == pytest.approx(0.5, rel=0.06)


def test_without_groups_all_are_of_one_micrograph(tmp_path: Path) -> None:
    made(tmp_path / "one")
    table = read_star(tmp_path / "one" / "particles.star")
    assert len(table.optics) == 1
    # RELION wants a name
    assert set(table.original.blocks["particles"]["rlnMicrographName"]) == {"particles.mrcs"}


@pytest.mark.parametrize("groups", [0, 10, -1])
def test_impossible_numbers_are_refused(groups: int) -> None:
    with pytest.raises(InputError, match="--groups must be from 1 to 9"):
        Nuisances(groups=groups).require_possible()
