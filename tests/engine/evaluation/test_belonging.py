"""Junk and other structures do not count when poses are compared with the truth."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.data.belonging import belonging
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.nuisances import Nuisances
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.report import evaluate
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

N = 60


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 60 images: 12 of junk, and 34 and 14 particles of two structures."""
    folder = tmp_path_factory.mktemp("mixture")
    volume = procedural_molecule(32, 4.0)
    simulate(
        volume, folder, n_particles=N, pixel_size=4.0, snr=1.0, seed=3,
        second=np.ascontiguousarray(volume[::-1]),
        nuisances=Nuisances(junk=0.2, off_centre=0.05),
    )  # fmt: skip
    return folder


def test_the_truth_tells_who_belongs(mixture: Path) -> None:
    truth = read_star(mixture / "truth.star")
    assert belonging(truth).sum() == 34
    assert belonging(truth, 2).sum() == 14
    assert not (belonging(truth) & belonging(truth, 2)).any()


def test_a_table_that_does_not_tell_has_particles_alone(mixture: Path, tmp_path: Path) -> None:
    assert belonging(read_star(mixture / "particles.star")).all()
    # classes of another program are not those of a true map
    table = read_star(mixture / "particles.star")
    classes = {"rlnClassNumber": np.arange(N) % 3}
    write_star(tmp_path / "p.star", table, np.arange(N), rotations=None, shifts=None, more=classes)
    assert belonging(read_star(tmp_path / "p.star")).all()


def test_poses_of_what_does_not_belong_are_not_compared(mixture: Path, tmp_path: Path) -> None:
    truth = read_star(mixture / "truth.star")
    rng = np.random.default_rng(0)
    rotations, shifts = truth.rotations.copy(), truth.shifts + 8.0
    others = ~belonging(truth)
    rotations[others] = random_rotations(int(others.sum()), rng)
    shifts[~others] -= 8.0
    star, files = tmp_path / "p.star", (mixture / "truth.star", mixture / "truth.mrc")
    write_star(star, truth, np.arange(N), rotations=rotations, shifts=shifts)
    found = evaluate(star, mixture / "truth.mrc", *files)
    assert found.n_particles == 34
    assert found.mean_pose_error_deg == pytest.approx(0, abs=1e-3)
    assert found.median_shift_error_angstrom == pytest.approx(0, abs=1e-3)
    # the same for a part of the particles, in another order
    rows = rng.permutation(N)[:40]
    write_star(star, truth, rows, rotations=rotations[rows], shifts=shifts[rows])
    again = evaluate(star, mixture / "truth.mrc", *files)
    assert again.n_particles == belonging(truth)[rows].sum()
    assert again.mean_pose_error_deg == pytest.approx(0, abs=1e-3)
    with pytest.raises(InputError, match="There is no symmetry C"):
        evaluate(star, mixture / "truth.mrc", *files, symmetry="C")


def test_a_truth_of_nothing_but_junk_is_refused(mixture: Path, tmp_path: Path) -> None:
    shutil.copy(mixture / "truth.mrc", tmp_path)
    truth = read_star(mixture / "truth.star")
    junk = np.flatnonzero(~belonging(truth) & ~belonging(truth, 2))
    for name in ("t.star", "p.star"):
        write_star(
            tmp_path / name, truth, junk,
            rotations=truth.rotations[junk], shifts=truth.shifts[junk],
            membership=np.zeros(len(junk)),
        )  # fmt: skip
    files = [tmp_path / name for name in ("p.star", "truth.mrc", "t.star", "truth.mrc")]
    with pytest.raises(InputError, match="none of the particles belongs"):
        evaluate(*files)


def test_a_run_compares_what_belongs(mixture: Path) -> None:
    data = DataSettings(
        stack=mixture / "particles.star",
        truth_star=mixture / "truth.star",
        truth_map=mixture / "truth.mrc",
        box=32,
    )
    stack = prepare(read_table(data.stack), data)
    truth = Truth.of(data, stack)
    rotations = truth.rotations.astype(np.float32)
    rotations[~truth.belongs] = random_rotations(N - 34, np.random.default_rng(1))
    used = np.ones(N, dtype=bool)
    found = truth.compare(rotations, truth.shifts, used, truth.volume)
    assert found.mean == pytest.approx(0, abs=0.05)
    # none of those in use belongs: they are all that there is
    found = truth.compare(rotations, truth.shifts, ~truth.belongs, truth.volume)
    assert found.mean > 10
