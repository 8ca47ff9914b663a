"""Each of the simulator's options shows in the images or in the tables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.nuisances import REALISTIC, Junk, Noise, Nuisances, Views
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from napari_cryospin.engine.data.table import ParticleTable

BOX, PIXEL_SIZE = 32, 4.0
CLEAN = 1e8


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    return procedural_molecule(BOX, PIXEL_SIZE)


def made(
    volume: np.ndarray, folder: Path, n: int = 200, snr: float = CLEAN, **options: object
) -> np.ndarray:
    """Simulate with some nuisances and return the images."""
    simulate(
        volume, folder, n_particles=n, pixel_size=PIXEL_SIZE, snr=snr, seed=5,
        nuisances=Nuisances(**options),
    )  # fmt: skip
    return mrcfile.read(folder / "particles.mrcs").astype(np.float64)


def noise_of(volume: np.ndarray, tmp_path: Path, **options: object) -> np.ndarray:
    """Return what a stack has beyond the clean images, in standard deviations of its noise."""
    clean = made(volume, tmp_path / "clean", 400)
    noise = made(volume, tmp_path / "noisy", 400, snr=0.1, **options) - clean
    return noise / np.sqrt(clean.var() / 0.1)


def by_radius(images: np.ndarray) -> np.ndarray:
    """Return the mean power of the transforms in rings, of one pixel."""
    k = np.fft.fftfreq(BOX) * BOX
    ring = np.rint(np.hypot(k[:, None], k)).astype(int)
    power = (abs(np.fft.fft2(images)) ** 2).mean(0) / BOX**2
    return np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())


def truth_of(folder: Path) -> tuple[ParticleTable, pd.DataFrame]:
    table = read_star(folder / "truth.star")
    return table, table.original.blocks["particles"]


def test_coloured_noise_falls_with_the_frequency(volume: np.ndarray, tmp_path: Path) -> None:
    noise = noise_of(volume, tmp_path, noise=Noise.COLOURED)
    assert noise.var() == pytest.approx(1, rel=0.02)
    power = by_radius(noise)
    assert (np.diff(power[1 : BOX // 2 : 3]) < 0).all()
    assert power[1] > 3 * power[BOX // 2]


def test_ice_goes_through_the_ctf(volume: np.ndarray, tmp_path: Path) -> None:
    noise = noise_of(volume, tmp_path, ice=1.0)
    assert noise.var() == pytest.approx(1, rel=0.02)
    # the CTF passes next to nothing of the lowest frequencies
    power = by_radius(noise)
    assert power[0] < 0.1
    assert power[8] > 0.5


def test_the_envelope_takes_high_frequencies(volume: np.ndarray, tmp_path: Path) -> None:
    plain, damped = made(volume, tmp_path / "a"), made(volume, tmp_path / "b", envelope=200.0)
    kept = by_radius(damped) / by_radius(plain)
    k = np.arange(BOX // 2) / (BOX * PIXEL_SIZE)
    # power: twice the exponent of exp(-B k² / 4); rings are a pixel wide
    assert kept[3:14] == pytest.approx(np.exp(-100.0 * k[3:14] ** 2), rel=0.15)


def test_contrast_spreads_around_1(volume: np.ndarray, tmp_path: Path) -> None:
    plain = made(volume, tmp_path / "a", 400)
    spread = made(volume, tmp_path / "b", 400, contrast_spread=0.2)
    scale = (plain * spread).sum((1, 2)) / (plain**2).sum((1, 2))
    assert scale.mean() == pytest.approx(1, abs=0.03)
    assert scale.std() == pytest.approx(0.2, rel=0.15)
    _, frame = truth_of(tmp_path / "b")
    assert np.allclose(frame["cryospinScale"].astype(float), scale, atol=1e-3)


def test_ramps_are_planes_in_all_directions(volume: np.ndarray, tmp_path: Path) -> None:
    plain = made(volume, tmp_path / "a", 200, snr=1.0)
    ramps = made(volume, tmp_path / "b", 200, snr=1.0, ramp=0.5) - plain
    y, x = np.indices((BOX, BOX)) - (BOX - 1) / 2
    basis = np.stack([x.ravel(), y.ravel()], 1)
    slopes, rest, *_ = np.linalg.lstsq(basis, ramps.reshape(200, -1).T, rcond=None)
    assert rest.max() < 1e-6 * (ramps**2).sum((1, 2)).max()
    assert ramps.std() == pytest.approx(0.5 * np.sqrt(made(volume, tmp_path / "c").var()), rel=0.2)
    angle = np.arctan2(slopes[1], slopes[0])
    assert abs(np.exp(1j * angle).mean()) < 0.2


def test_a_background_has_low_frequencies(volume: np.ndarray, tmp_path: Path) -> None:
    plain = made(volume, tmp_path / "a", snr=1.0)
    waves = made(volume, tmp_path / "b", snr=1.0, background=0.5) - plain
    assert waves.std() == pytest.approx(0.5 * made(volume, tmp_path / "c").std(), rel=0.15)
    power = by_radius(waves)
    assert power[:3].sum() > 20 * power[4 : BOX // 2].sum()


def test_particles_lie_off_centre_by_a_share_of_the_box(volume: np.ndarray, tmp_path: Path) -> None:
    made(volume, tmp_path, 400, off_centre=0.05)
    table, _ = truth_of(tmp_path)
    assert table.shifts.std(0) == pytest.approx(0.05 * BOX * PIXEL_SIZE, rel=0.1)


@pytest.mark.parametrize(("views", "angle"), [(Views.CAP, 25.0), (Views.BELT, 10.0)])
def test_preferred_views_fill_their_part_of_the_sphere(
    volume: np.ndarray, tmp_path: Path, views: Views, angle: float
) -> None:
    made(volume, tmp_path, 400, views=views, view_angle=angle)
    table, _ = truth_of(tmp_path)
    to_axis = np.degrees(np.arccos(np.clip(table.rotations[:, 2, 2], -1, 1)))
    beyond = to_axis if views == Views.CAP else abs(to_axis - 90)
    assert 0.9 * angle < beyond.max() <= angle + 1e-3
    # as many in each part of the same area
    share = np.mean(beyond < angle / 2)
    assert share == pytest.approx(0.25 if views == Views.CAP else 0.5, abs=0.07)
    # rotations about the view are free
    assert (
        abs(np.exp(1j * np.arctan2(table.rotations[:, 0, 2], table.rotations[:, 1, 2])).mean())
        < 0.15
    )


def test_the_tables_defocus_errs(volume: np.ndarray, tmp_path: Path) -> None:
    made(volume, tmp_path / "a", 400, defocus_error=300.0)
    truth, blind = truth_of(tmp_path / "a")[0], read_star(tmp_path / "a" / "particles.star")
    error = blind.defocus.u - truth.defocus.u
    assert error.std() == pytest.approx(300, rel=0.1)
    assert error == pytest.approx(blind.defocus.v - truth.defocus.v, abs=0.01)
    # the images follow the truth
    assert np.abs(made(volume, tmp_path / "b", 400) - made(volume, tmp_path / "c", 400)).max() == 0
    assert not np.allclose(
        mrcfile.read(tmp_path / "a" / "particles.mrcs"),
        mrcfile.read(tmp_path / "b" / "particles.mrcs"),
    )


def test_the_tables_amplitude_contrast_errs(volume: np.ndarray, tmp_path: Path) -> None:
    plain, other = (
        made(volume, tmp_path / "a"),
        made(volume, tmp_path / "b", true_amplitude_contrast=0.5),
    )
    truth, blind = truth_of(tmp_path / "b")[0], read_star(tmp_path / "b" / "particles.star")
    assert (truth.optics[0].amplitude_contrast, blind.optics[0].amplitude_contrast) == (0.5, 0.1)
    assert by_radius(other)[1] > 2 * by_radius(plain)[1]


def test_realistic_stacks_are_the_same_for_a_seed_and_blind(
    volume: np.ndarray, tmp_path: Path
) -> None:
    options = replace(REALISTIC, junk=0.5, beads=0.1)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(
            volume, tmp_path / name, n_particles=60, pixel_size=PIXEL_SIZE, snr=0.5, seed=seed,
            second=procedural_molecule(BOX, PIXEL_SIZE)[::-1].copy(), nuisances=options,
        )  # fmt: skip
    first, again, other = (mrcfile.read(tmp_path / x / "particles.mrcs") for x in "abc")
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    for name in ("particles.star", "truth.star"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    text = (tmp_path / "a" / "particles.star").read_text()
    assert not any(word in text for word in ("cryospin", "ClassNumber", "Angle Rot", "Origin"))
    assert read_star(tmp_path / "a" / "particles.star").rotations is None


def test_one_option_does_not_change_what_another_draws(volume: np.ndarray, tmp_path: Path) -> None:
    made(volume, tmp_path / "a", junk=0.3, contrast_spread=0.2)
    made(volume, tmp_path / "b", junk=0.3, contrast_spread=0.2, ice=0.5, ramp=0.3, neighbours=0.2)
    (one, first), (other, second) = truth_of(tmp_path / "a"), truth_of(tmp_path / "b")
    assert first.drop(columns="rlnImageName").equals(second.drop(columns="rlnImageName"))
    assert np.array_equal(one.rotations, other.rotations)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"junk": 1.2}, "--junk must be from 0 to 1, and 1.2 is not"),
        ({"ice": float("nan")}, "--ice must be from 0 to 1"),
        ({"contrast_spread": -0.1}, "--contrast-spread must be from 0 to 2"),
        ({"views": Views.CAP, "view_angle": 0.0}, "--view-angle must be above 0"),
        ({"true_amplitude_contrast": 2.0}, "--true-amplitude-contrast must be from 0 to 1"),
        ({"junk": 0.1, "junk_kinds": ()}, "No kind of junk was named"),
    ],
)
def test_impossible_nuisances_are_refused(
    volume: np.ndarray, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        made(volume, tmp_path / "out", 5, **options)
    assert not (tmp_path / "out").exists()


def test_shifts_are_told_in_one_way(volume: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not both"):
        simulate(
            volume, tmp_path / "out", n_particles=2, pixel_size=4.0, snr=1.0, shift_std=2.0,
            nuisances=Nuisances(off_centre=0.1),
        )  # fmt: skip


def test_kinds_are_known_by_their_names() -> None:
    named = Nuisances(noise="coloured", views="belt", junk_kinds=("edge", "cut"))
    assert named == Nuisances(Noise.COLOURED, views=Views.BELT, junk_kinds=(Junk.EDGE, Junk.CUT))
    assert Nuisances(junk_kinds="blob").junk_kinds == (Junk.BLOB,)


@pytest.mark.parametrize(
    ("field", "value"), [("noise", "pink"), ("views", "top"), ("junk_kinds", ("ice",))]
)
def test_a_kind_that_there_is_not_is_refused(field: str, value: object) -> None:
    with pytest.raises(InputError, match=r"of the kind .*: choose among"):
        Nuisances(**{field: value})
