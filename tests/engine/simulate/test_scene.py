"""Junk, neighbours, beads and second structures: how many there are, and where they are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.nuisances import Junk, Nuisances
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.set_aside import Reason
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.simulate.fragments import centred_on_mass, fragment, radius_of
from napari_cryospin.engine.simulate.images import CleanImages, Transfer
from napari_cryospin.engine.simulate.scene import Copies, plan

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

BOX, PIXEL_SIZE = 64, 3.0


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    return procedural_molecule(BOX, PIXEL_SIZE)


def made(
    volume: np.ndarray, folder: Path, n: int, snr: float = 1e8, **options: object
) -> tuple[np.ndarray, pd.DataFrame]:
    second = options.pop("second", None)
    simulate(
        volume, folder, n_particles=n, pixel_size=PIXEL_SIZE, snr=snr, seed=2, second=second,
        nuisances=Nuisances(**options),
    )  # fmt: skip
    images = mrcfile.read(folder / "particles.mrcs").astype(np.float64)
    return images, read_star(folder / "truth.star").original.blocks["particles"]


def test_junk_has_its_share_and_its_kinds_are_even(volume: np.ndarray, tmp_path: Path) -> None:
    images, frame = made(volume, tmp_path, 120, junk=0.5)
    counts = frame["cryospinJunk"].value_counts()
    assert counts.to_dict() == {"none": 60} | {kind.value: 10 for kind in Junk}
    belongs = frame["cryospinMembership"] == "1"
    assert (belongs == (frame["cryospinJunk"] == "none")).all()
    assert (belongs == (frame["rlnClassNumber"] == "1")).all()
    power = images.var((1, 2))
    of = {kind: power[frame["cryospinJunk"] == kind.value] for kind in Junk}
    usual = np.median(power[belongs])
    assert of[Junk.NOISE].max() < 1e-3 * usual
    assert np.median(of[Junk.AGGREGATE]) > 1.5 * usual
    assert 0.02 * usual < np.median(of[Junk.FRAGMENT]) < 0.7 * usual
    assert np.median(of[Junk.BLOB]) > 0.3 * usual


def test_kinds_of_junk_are_chosen_by_name(volume: np.ndarray, tmp_path: Path) -> None:
    kinds = (Junk.EDGE, Junk.CUT)
    _, frame = made(volume, tmp_path, 40, junk=0.5, junk_kinds=kinds)
    assert frame["cryospinJunk"].value_counts().to_dict() == {"none": 20, "edge": 10, "cut": 10}


def test_an_edge_parts_the_image(volume: np.ndarray, tmp_path: Path) -> None:
    with_edge, _ = made(volume, tmp_path / "a", 40, snr=0.1, junk=1.0, junk_kinds=(Junk.EDGE,))
    noise, _ = made(volume, tmp_path / "b", 40, snr=0.1, junk=1.0, junk_kinds=(Junk.NOISE,))
    drawn = with_edge - noise
    # a stack of nothing but junk has the noise of one of particles
    clean, _ = made(volume, tmp_path / "c", 40)
    assert clean.var() / noise.var() == pytest.approx(0.1, rel=0.1)
    assert 0.2 < np.median(drawn.std((1, 2))) / noise.std() < 1.5
    # the film is a region: neighbouring pixels agree, where those of noise do not
    smooth = np.mean(drawn[:, :, 1:] * drawn[:, :, :-1]) / np.mean(drawn**2)
    assert smooth > 0.25


def test_what_is_cut_lies_at_the_rim(volume: np.ndarray, tmp_path: Path) -> None:
    images, frame = made(volume, tmp_path, 80, junk=0.5, junk_kinds=(Junk.CUT,))
    assert rim_share(images[frame["cryospinJunk"] == "cut"]) > 0.85
    assert rim_share(images[frame["cryospinJunk"] == "none"]) < 0.4


def rim_share(images: np.ndarray) -> float:
    """Return the share of the power that lies beyond a third of the box."""
    y, x = np.indices(images.shape[1:]) - BOX // 2
    return float((images**2)[:, np.hypot(x, y) > BOX / 3].sum() / (images**2).sum())


def test_neighbours_reach_in_at_the_rim(volume: np.ndarray, tmp_path: Path) -> None:
    alone, _ = made(volume, tmp_path / "a", 80)
    crowded, frame = made(volume, tmp_path / "b", 80, neighbours=0.25)
    difference = crowded - alone
    assert (frame["cryospinMembership"] == "1").all()
    touched = (abs(difference) > 1e-2 * alone.std()).any((1, 2))
    assert touched.sum() == 20
    assert rim_share(difference[touched]) > 0.8
    # they do not count as signal
    noisy, _ = made(volume, tmp_path / "c", 80, snr=0.5, neighbours=0.25)
    assert alone.var() / (noisy - crowded).var() == pytest.approx(0.5, rel=0.02)


def test_what_is_beyond_one_rim_does_not_come_back_at_the_other(
    volume: np.ndarray, tmp_path: Path
) -> None:
    made(volume, tmp_path, 1)
    table = read_star(tmp_path / "truth.star")
    clean = CleanImages(volume, Transfer(table))
    row = np.zeros(1, dtype=np.int64)

    def at(x: float) -> np.ndarray:
        return clean.copies(Copies(row, row, table.rotations, np.array([[x, 0.0]])), slice(None))[0]

    assert np.corrcoef(at(0).ravel(), clean.images(row)[0].ravel())[0, 1] > 0.97
    power = at(BOX / 2) ** 2
    assert power[:, : BOX // 4].sum() < 0.05 * power[:, 3 * BOX // 4 :].sum()


def test_beads_are_found_by_the_inspection(volume: np.ndarray, tmp_path: Path) -> None:
    _, frame = made(volume, tmp_path, 80, snr=0.1, beads=0.1)
    bead = np.flatnonzero(frame["cryospinBead"] == "1")
    assert len(bead) == 8
    settings = DataSettings(stack=tmp_path / "particles.star", box=32)
    aside = prepare(read_table(tmp_path / "particles.star"), settings).set_aside
    assert set(aside.reasons) == {Reason.BEAD}
    # one whose bead is cut off by the rim may pass
    assert len(set(bead) - set(aside.rows)) <= 1
    assert set(aside.rows) <= set(bead)


def test_two_structures_have_their_shares(volume: np.ndarray, tmp_path: Path) -> None:
    other = np.ascontiguousarray(volume[::-1, :, :])
    images, frame = made(volume, tmp_path, 100, second=other, second_share=0.3, junk=0.2)
    numbers = frame["rlnClassNumber"].astype(int).to_numpy()
    assert np.bincount(numbers).tolist() == [20, 56, 24]
    for name, map_ in (("truth.mrc", volume), ("truth_class2.mrc", other)):
        assert np.array_equal(mrcfile.read(tmp_path / name), map_)
    # a stack of one structure has the same poses, and other images where the second is
    alone, _ = made(volume, tmp_path / "alone", 100, junk=0.2)
    same = np.array(
        [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, alone, strict=True)]
    )
    assert same[numbers == 1].min() > 0.999
    assert same[numbers == 2].max() < 0.95


def test_a_fragment_is_about_a_third_and_in_the_middle(volume: np.ndarray) -> None:
    for seed in range(3):
        piece = fragment(volume, np.random.default_rng(seed))
        share = np.maximum(piece, 0).sum() / np.maximum(volume, 0).sum()
        assert 0.15 < share < 0.6
        assert np.array_equal(centred_on_mass(piece), piece)
    assert radius_of(piece) < radius_of(volume)


def test_the_radius_of_a_ball() -> None:
    r = np.linalg.norm(np.indices((32, 32, 32)) - 16, axis=0)
    assert radius_of((r <= 8).astype(np.float32)) == pytest.approx(8, abs=0.5)


def test_plans_hold_what_was_asked_for() -> None:
    options = Nuisances(junk=0.5, neighbours=1.0, second_share=0.5)
    scene = plan(200, BOX, 20.0, options, 0, two=True)
    copies = scene.copies
    assert set(copies.source) >= {0, 1, 2}
    assert (np.diff(copies.rows) >= 0).all()
    rows = set(copies.rows)
    assert set(np.flatnonzero(scene.belongs)) <= rows
    assert not rows & set(scene.rows_of(Junk.NOISE, Junk.EDGE, Junk.BLOB))
