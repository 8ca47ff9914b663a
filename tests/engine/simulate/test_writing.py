from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.density import density_from_atoms, fit_map, read_map
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.simulate import simulate, source_map

if TYPE_CHECKING:
    from pathlib import Path

ATOM = "ATOM      1  CA  ALA {chain}   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C\n"


def pdb(path: Path, *positions: tuple[float, float, float]) -> Path:
    atoms = [ATOM.format(chain="ABC"[i], x=x, y=y, z=z) for i, (x, y, z) in enumerate(positions)]
    path.write_text("".join(atoms) + "END\n")
    return path


def images(folder: Path) -> np.ndarray:
    with mrcfile.open(folder / "particles.mrcs") as mrc:
        return np.array(mrc.data)


def test_the_snr_is_what_was_asked_for(tmp_path: Path) -> None:
    volume = procedural_molecule(32, 4.0)
    for name, snr in (("clean", 1e9), ("noisy", 0.5)):
        simulate(volume, tmp_path / name, n_particles=400, pixel_size=4.0, snr=snr, seed=3)
    clean = images(tmp_path / "clean")
    noise = images(tmp_path / "noisy") - clean
    assert clean.var() / noise.var() == pytest.approx(0.5, rel=0.01)
    # white: every coefficient has the same power
    power = (abs(np.fft.fft2(noise)) ** 2).mean(0)
    assert power.std() / power.mean() < 0.1


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    volume = procedural_molecule(32, 4.0)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(volume, tmp_path / name, n_particles=20, pixel_size=4.0, snr=1, seed=seed)
    assert np.array_equal(images(tmp_path / "a"), images(tmp_path / "b"))
    assert not np.array_equal(images(tmp_path / "a"), images(tmp_path / "c"))


def test_only_the_truth_tells_poses(tmp_path: Path) -> None:
    simulate(
        procedural_molecule(32, 4.0),
        tmp_path,
        n_particles=300,
        pixel_size=4.0,
        snr=1,
        shift_std=6.0,
    )
    blind, truth = (read_star(tmp_path / f"{name}.star") for name in ("particles", "truth"))
    assert blind.rotations is None
    assert blind.shifts is None
    assert truth.rotations is not None
    assert truth.shifts.std() == pytest.approx(6.0, rel=0.1)
    assert np.array_equal(blind.defocus.u, truth.defocus.u)
    assert np.ptp(blind.defocus.u) > 5000


def test_particles_lie_at_minus_their_origin_shift(tmp_path: Path) -> None:
    # a single blob: its place in each image is where shift (and nothing else) puts it
    volume = np.zeros((32, 32, 32), dtype=np.float32)
    volume[15:18, 15:18, 15:18] = 1
    simulate(
        volume, tmp_path, n_particles=30, pixel_size=2.0, snr=1e9, shift_std=6.0,
        defocus_range=(3000, 3000),
    )  # fmt: skip
    shifts = read_star(tmp_path / "truth.star").shifts
    for image, shift in zip(images(tmp_path), shifts, strict=True):
        # the point spread is symmetric: its power is centred on the particle
        y, x = (np.indices(image.shape) * image**2).sum((1, 2)) / (image**2).sum()
        assert (x - 16) * 2.0 == pytest.approx(-shift[0], abs=1.5)
        assert (y - 16) * 2.0 == pytest.approx(-shift[1], abs=1.5)


@pytest.mark.parametrize(("n", "snr"), [(0, 1.0), (5, 0.0), (5, -1.0)])
def test_impossible_simulations_are_refused(tmp_path: Path, n: int, snr: float) -> None:
    with pytest.raises(InputError, match="at least one particle and an SNR above 0"):
        simulate(procedural_molecule(32, 4.0), tmp_path, n_particles=n, pixel_size=4.0, snr=snr)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_particles": 10**20}, "at most 100,000,000 particles"),
        ({"snr": 1e-300}, "nothing but noise"),
        ({"snr": float("nan")}, "an SNR above 0"),
        ({"shift_std": 1e30}, "Shifts must not be larger than the images, 128 Å"),
        ({"shift_std": float("nan")}, "Shifts must not be larger"),
        ({"shift_std": -1.0}, "Shifts must not be larger"),
    ],
)
def test_numbers_that_no_simulation_can_have(
    tmp_path: Path, changed: dict[str, float], message: str
) -> None:
    options = {"n_particles": 2, "pixel_size": 4.0, "snr": 1.0} | changed
    with pytest.raises(InputError, match=message):
        simulate(np.ones((32, 32, 32), np.float32), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_atoms_become_gaussians_about_their_centre(tmp_path: Path) -> None:
    path = pdb(tmp_path / "two.pdb", (-10.0, 0, 0), (10.0, 0, 0))
    volume = density_from_atoms(path, box=32, pixel_size=2.0)
    # carbon weighs 6; x is the last axis
    assert volume.sum() == pytest.approx(12, rel=0.01)
    peaks = sorted(np.argsort(volume.ravel())[-2:])
    assert [np.unravel_index(p, volume.shape) for p in peaks] == [(16, 16, 11), (16, 16, 21)]
    one = density_from_atoms(path, box=32, pixel_size=2.0, chains="B")
    assert np.unravel_index(one.argmax(), one.shape) == (16, 16, 16)


def test_molecules_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = pdb(tmp_path / "long.pdb", (-100.0, 0, 0), (100.0, 0, 0))
    with pytest.raises(InputError, match="at least 104 pixels"):
        density_from_atoms(path, box=32, pixel_size=2.0)
    with pytest.raises(InputError, match="holds no atoms in chains X"):
        density_from_atoms(path, box=32, pixel_size=2.0, chains="X")


def test_sources(shared_data: Path) -> None:
    own, pixel_size = source_map(
        shared_data / "maps" / "polnet_5A_2cg9.mrc", box=32, pixel_size=None
    )
    assert own.shape == (32, 32, 32)
    assert pixel_size == pytest.approx(5.0 * 66 / 32)
    atoms = shared_data / "atoms" / "4ake_adenylate_kinase_open.cif"
    volume, _ = source_map(atoms, box=64, pixel_size=2.0)
    assert volume.max() > 0
    with pytest.raises(InputError, match="does not exist"):
        source_map(shared_data / "absent.pdb", box=32, pixel_size=2.0)


def test_maps_are_resampled_about_their_centre() -> None:
    volume = procedural_molecule(64, 2.0)
    smaller = fit_map(volume, 2.0, 32, 4.0)
    assert np.corrcoef(smaller.ravel(), procedural_molecule(32, 4.0).ravel())[0, 1] > 0.9
    assert smaller.mean() == pytest.approx(volume.mean(), rel=1e-3)
    padded = fit_map(volume, 2.0, 96, 2.0)
    assert np.allclose(padded[16:-16, 16:-16, 16:-16], volume, atol=1e-5)


def test_maps_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mrc").write_text("no map at all")
    with pytest.raises(InputError, match=r"text\.mrc cannot be read"):
        read_map(tmp_path / "text.mrc")
    with mrcfile.new(tmp_path / "flat.mrc") as mrc:
        mrc.set_data(np.zeros((8, 8, 4), dtype=np.float32))
    with pytest.raises(InputError, match="no cubic map"):
        read_map(tmp_path / "flat.mrc")


def test_the_molecule_is_asymmetric_and_fits() -> None:
    volume = procedural_molecule(32, 4.0)
    assert volume.shape == (32, 32, 32)
    r = np.linalg.norm(np.indices(volume.shape) - 16, axis=0)
    assert abs(volume[r > 14]).sum() < 0.01 * volume.sum()
    for axis in range(3):
        assert np.corrcoef(volume.ravel(), np.flip(volume, axis).ravel())[0, 1] < 0.6
        turned = np.rot90(volume, 2, [a for a in range(3) if a != axis])
        assert np.corrcoef(volume.ravel(), turned.ravel())[0, 1] < 0.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volume": np.ones((16, 16, 15))}, "a cube of even side"),
        ({"volume": np.ones((15, 15, 15))}, "a cube of even side"),
        ({"volume": np.zeros((16, 16, 16))}, "not zeros alone"),
        ({"volume": np.full((16, 16, 16), np.nan)}, "finite numbers"),
        ({"second": np.ones((18, 18, 18))}, "maps of one shape"),
        ({"pixel_size": 0.0}, "pixel size must be above 0"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"defocus_range": (20_000.0, 10_000.0)}, "No defocus lies between"),
    ],
)
def test_what_no_stack_can_be_made_of_is_told_before_anything_is_made(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    usual = {"volume": np.ones((16, 16, 16)), "n_particles": 3, "pixel_size": 4.0, "snr": 1.0}
    with pytest.raises(InputError, match=message):
        simulate(out=tmp_path / "stack", **usual | change)
    assert not list(tmp_path.iterdir())
