"""Bad images in a stack of good ones: which are set aside, which are mended, and what is said."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.resize import fourier_crop
from napari_cryospin.engine.data.set_aside import Reason
from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.simulate import simulate
from particle_images import all_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N, BOX = 24, 64
SETTINGS = DataSettings(box=32)
Damage = "Callable[[np.ndarray], None]"


def particles(n: int = N, box: int = BOX, *, signal: float = 1.0, noise: float = 1.0) -> np.ndarray:
    """Return blobs of many widths in noise, on an offset, (n, box, box)."""
    rng = np.random.default_rng(3)
    axis = (np.arange(box) - box // 2) / box
    radius = axis**2 + axis[:, None] ** 2
    widths = rng.uniform(0.08, 0.2, n)[:, None, None]
    return 20 + signal * np.exp(-radius / (2 * widths**2)) + noise * rng.normal(size=(n, box, box))


def table_of(folder: Path, images: np.ndarray, groups: np.ndarray | None = None) -> ParticleTable:
    """Write a stack and return its table, with one optics group for each number in ``groups``."""
    path = folder / "stack.mrcs"
    stored = images.astype(np.float32 if images.dtype == np.float64 else images.dtype)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.zeros_like(stored))
    # past the library, which warns of NaN
    np.memmap(path, stored.dtype, "r+", offset=1024, shape=stored.shape)[:] = stored
    members = np.zeros(len(images), np.int64) if groups is None else groups
    names = range(int(members.max()) + 1)
    return ParticleTable(
        source=folder / "particles.star",
        stacks=(path,),
        stack_index=np.zeros(len(images), np.int64),
        image_index=np.arange(len(images)),
        optics=tuple(OpticsGroup(f"g{i}", 2.0, images.shape[-1], 300.0, 2.7, 0.1) for i in names),
        optics_index=members,
    )


def without(table: ParticleTable, rows: list[int]) -> ParticleTable:
    """Return the table without rows."""
    kept = np.setdiff1d(np.arange(table.n_particles), rows)
    columns = ("stack_index", "image_index", "optics_index")
    return replace(table, **{name: getattr(table, name)[kept] for name in columns})


def bead(image: np.ndarray, x: int, y: int, *, width: int = 8, height: float = 50.0) -> None:
    image[y : y + width, x : x + width] += height


def hot(image: np.ndarray, *places: tuple[int, int], height: float = 500.0) -> None:
    for y, x in places:
        image[y, x] += height


LOST: dict[str, tuple[Callable[[np.ndarray], None], Reason]] = {
    "blank": (lambda image: image.fill(7.0), Reason.BLANK),
    "zeros": (lambda image: image.fill(0.0), Reason.BLANK),
    "blank but for a hot pixel": (lambda i: (i.fill(7.0), hot(i, (3, 5))), Reason.BLANK),
    "blank but for a dim pixel": (lambda i: (i.fill(7.0), hot(i, (3, 5), height=1)), Reason.BLANK),
    "blank up to rounding": (lambda i: (i.fill(7.0), hot(i, (3, 5), height=1e-6)), Reason.BLANK),
    "NaN everywhere": (lambda image: image.fill(np.nan), Reason.NOT_FINITE),
    "infinite everywhere": (lambda image: image.fill(np.inf), Reason.NOT_FINITE),
    "NaN in a quarter": (lambda image: image[:16].fill(np.nan), Reason.NOT_FINITE),
    "bright bead on the particle": (lambda image: bead(image, 28, 28), Reason.BEAD),
    "dark bead on the particle": (lambda image: bead(image, 28, 28, height=-50), Reason.BEAD),
    "bead in the background": (lambda image: bead(image, 6, 40), Reason.BEAD),
    "bead in a corner": (lambda image: bead(image, 0, 0), Reason.BEAD),
    "bead over the edge": (lambda image: bead(image, 60, 30), Reason.BEAD),
    "wide bead": (lambda image: bead(image, 5, 5, width=24), Reason.BEAD),
    "two beads": (lambda i: (bead(i, 5, 5), bead(i, 50, 40, height=-30)), Reason.BEAD),
    "half of another level": (lambda image: image[:32].__iadd__(40), Reason.BEAD),
    "salt and pepper": (lambda image: image[::2, ::3].fill(500.0), Reason.DUST),
}


@pytest.mark.parametrize("kind", LOST)
def test_what_cannot_be_used_is_set_aside(tmp_path: Path, kind: str) -> None:
    damage, reason = LOST[kind]
    images = particles()
    for row in (4, 17):
        damage(images[row])
    table = table_of(tmp_path, images)
    stack = prepare(table, SETTINGS)
    assert stack.set_aside.rows.tolist() == [4, 17]
    assert set(stack.set_aside.reasons) == {reason}
    assert stack.rows.tolist() == [row for row in range(N) if row not in (4, 17)]
    assert f"2 of {N} images are set aside (2 {reason.words})." in stack.notes
    # the others are as if these had never been there
    clean = prepare(without(table, [4, 17]), SETTINGS)
    np.testing.assert_array_equal(all_images(stack).numpy(), all_images(clean).numpy())
    assert stack.n == clean.n == len(all_images(stack))


DUST: dict[str, tuple[Callable[[np.ndarray], None], int]] = {
    "hot pixel": (lambda image: hot(image, (30, 31)), 1),
    "dead pixel": (lambda image: hot(image, (30, 31), height=-500), 1),
    "pixel of 30 σ": (lambda image: hot(image, (5, 9), height=30), 1),
    "pixel at the edge of float": (lambda image: hot(image, (30, 31), height=3e38), 1),
    "three pixels": (lambda image: hot(image, (3, 4), (40, 22), (63, 63)), 3),
    "pixel of the corner": (lambda image: hot(image, (0, 0)), 1),
    "X-ray of nine pixels": (lambda image: image[10:13, 20:23].__iadd__(300), 9),
    "bad column": (lambda image: image[:, 20].__iadd__(100), BOX),
    "two bad rows": (lambda image: image[20:22].__isub__(100), 2 * BOX),
    "missing pixel": (lambda image: image[30:31, 20].fill(np.nan), 1),
    "infinite pixel": (lambda image: image[30:31, 20].fill(np.inf), 1),
    "missing column": (lambda image: image[:, 20].fill(np.nan), BOX),
    "missing corner": (lambda image: image[:16, :16].fill(np.nan), 256),
    "missing and hot": (lambda i: (i[:, 20].fill(np.nan), hot(i, (5, 50))), BOX + 1),
}


@pytest.mark.parametrize("kind", DUST)
def test_dust_is_replaced(tmp_path: Path, kind: str) -> None:
    damage, pixels = DUST[kind]
    clean = prepare(table_of(tmp_path, particles()), SETTINGS)
    images = particles()
    for row in (4, 17):
        damage(images[row])
    table = table_of(tmp_path, images)
    stack = prepare(table, SETTINGS)
    assert stack.n == N
    assert stack.notes == (f"2 images had wild pixels replaced ({2 * pixels} pixels).",)
    difference = (all_images(stack) - all_images(clean)).square().flatten(1).mean(1)
    # no more than noise in place of noise, and signal lost, where the pixels were
    assert difference[[4, 17]].max() < 0.25
    others = np.setdiff1d(np.arange(N), [4, 17])
    assert difference[others].max() < 1e-4
    again = prepare(table, SETTINGS)
    np.testing.assert_array_equal(all_images(again).numpy(), all_images(stack).numpy())


def test_dust_is_mended_the_same_in_another_order(tmp_path: Path) -> None:
    images = particles()
    hot(images[9], (30, 31))
    table = table_of(tmp_path, images)
    turned = replace(table, image_index=table.image_index[::-1].copy())
    one, other = prepare(table, SETTINGS).image(9), prepare(turned, SETTINGS).image(N - 1 - 9)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_saturated_pixels_of_integers_are_dust(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(40, (N, BOX, BOX)).astype(np.int16)
    counts[5, 12, 40:43] = 32767
    stack = prepare(table_of(tmp_path, counts), SETTINGS)
    assert stack.notes == ("1 image had wild pixels replaced (3 pixels).",)
    assert all_images(stack).abs().max() < 8


def counts_of_few_electrons() -> np.ndarray:
    return np.random.default_rng(1).poisson(0.4, (N, BOX, BOX)).astype(np.int16)


def neighbours() -> np.ndarray:
    images = particles(signal=3)
    images[::4] += np.roll(images[::4] - 20, 24, axis=2)
    return images


def uneven_gain() -> np.ndarray:
    return np.geomspace(0.1, 100, N)[:, None, None] * particles()


def gradients() -> np.ndarray:
    ramp = np.linspace(-1, 1, BOX)
    return particles() + np.linspace(0, 2, N)[:, None, None] * ramp


@pytest.mark.parametrize(
    "images",
    [
        particles(signal=0),
        particles(signal=1),
        particles(signal=10),
        particles(noise=0),
        particles(noise=1e-3),
        -particles(signal=5),
        counts_of_few_electrons(),
        neighbours(),
        uneven_gain(),
        gradients(),
        np.round(particles() * 3).astype(np.int8),
        particles(signal=5)[:1],
        particles(signal=5)[:3],
    ],
    ids=[
        "noise",
        "weak",
        "strong",
        "clean",
        "next to clean",
        "black",
        "counts",
        "neighbours",
        "uneven gain",
        "gradients",
        "bytes",
        "one",
        "three",
    ],
)
def test_good_images_are_left_alone(tmp_path: Path, images: np.ndarray) -> None:
    stack = prepare(table_of(tmp_path, images), SETTINGS)
    assert stack.n == len(images)
    assert not [note for note in stack.notes if "set aside" in note or "wild" in note]


@pytest.mark.parametrize("snr", [0.05, 1.0, 1e9])
def test_projections_of_a_molecule_are_left_alone(tmp_path: Path, snr: float) -> None:
    volume = procedural_molecule(box=48, pixel_size=3.0)
    table = simulate(volume, tmp_path, n_particles=60, pixel_size=3.0, snr=snr)
    stack = prepare(table, SETTINGS)
    assert stack.n == 60
    assert stack.notes == ()


@pytest.mark.parametrize(
    "name",
    [
        "real_17/sample_particles_relion31.star",
        "real_empiar10076_7/empiar_10076_7.star",
        "relion_oracle_64/rln_proj_64.mrcs",
        "relion_oracle_64/rln_proj_64_centered.mrcs",
        "relion_oracle_64/rln_proj_64_shifted.mrcs",
    ],
)
def test_particles_of_others_are_left_alone(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "particles" / name
    if path.suffix == ".star":
        table = read_table(path)
    else:
        table = table_of(tmp_path, mrcfile.read(path).astype(np.float32))
    stack = prepare(table, SETTINGS)
    assert stack.n == table.n_particles
    assert not [note for note in stack.notes if "set aside" in note or "wild" in note]


SMALLER: dict[str, tuple[Callable[[np.ndarray], None], float]] = {
    "bead": (lambda image: bead(image, 50, 50), 100),
    "hot pixel": (lambda image: hot(image, (61, 70)), 10),
}


@pytest.mark.parametrize("kind", SMALLER)
def test_damage_is_mended_in_a_stack_that_was_made_smaller(tmp_path: Path, kind: str) -> None:
    damage, before = SMALLER[kind]
    images = particles(box=128)
    clean = fourier_crop(torch.from_numpy(images), 32).numpy()
    damage(images[6])
    damaged = fourier_crop(torch.from_numpy(images), 32).numpy()
    assert np.square(damaged[6] - clean[6]).mean() > before
    expected = all_images(prepare(table_of(tmp_path, clean), SETTINGS))[6]
    stack = prepare(table_of(tmp_path, damaged), SETTINGS)
    # two pixels of a bead are dust; what is left of the ripples is of the noise's order
    assert stack.notes == stack.notes[:1]
    assert "1 image had wild pixels replaced" in stack.notes[0]
    assert (all_images(stack)[6] - expected).square().mean() < 1.5


def test_few_images_of_an_optics_group_are_judged_by_all(tmp_path: Path) -> None:
    images = particles()
    bead(images[5], 20, 20)
    groups = np.zeros(N, np.int64)
    groups[5] = 1
    stack = prepare(table_of(tmp_path, images, groups), SETTINGS)
    assert stack.set_aside.rows.tolist() == [5]


def test_the_first_particles_are_asked_for_and_the_bad_among_them_are_missing(
    tmp_path: Path,
) -> None:
    images = particles()
    images[[1, 20]] = 0
    stack = prepare(table_of(tmp_path, images), DataSettings(box=32, max_particles=6))
    assert stack.rows.tolist() == [0, 2, 3, 4, 5]
    assert "1 of 6 images is set aside (1 blank)." in stack.notes


def test_many_bad_images_are_a_warning(tmp_path: Path) -> None:
    images = particles(40)
    images[:2] = 0
    few = prepare(table_of(tmp_path, images), SETTINGS)
    assert few.set_aside.warning is None
    images[2] = np.nan
    hot(images[9], (3, 3))
    many = prepare(table_of(tmp_path, images), SETTINGS)
    assert many.set_aside.warning is not None
    assert many.notes == (
        "3 of 40 images are set aside (2 blank, 1 with NaN or infinite values); 1 image had wild "
        "pixels replaced (1 pixel).",
        many.set_aside.warning,
    )
    assert "8 %" in many.notes[-1]


@pytest.mark.parametrize("left", [0, 1])
def test_next_to_no_good_image_is_an_error(tmp_path: Path, left: int) -> None:
    images = particles(5)
    images[left:] = np.nan
    said = rf"{5 - left} of 5 images are set aside \({5 - left} with NaN.*too few are left"
    with pytest.raises(InputError, match=said):
        prepare(table_of(tmp_path, images), SETTINGS)


def test_what_is_set_aside_can_be_looked_up(tmp_path: Path) -> None:
    images = particles()
    images[4] = 0
    bead(images[11], 20, 20)
    table = table_of(tmp_path, images)
    table = replace(table, image_index=table.image_index[::-1].copy())
    stack = prepare(table, SETTINGS)
    stack.set_aside.write(tmp_path / "set_aside.csv", table)
    with (tmp_path / "set_aside.csv").open(newline="") as file:
        rows = [(r["particle"], r["image"], r["reason"]) for r in csv.DictReader(file)]
    assert rows == [("13", "12", "with a gold bead or the like"), ("20", "5", "blank")]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 3e38, 500.0])
@pytest.mark.parametrize("place", [(0, 0), (30, 31)])
def test_a_wild_pixel_in_every_image_is_replaced(
    tmp_path: Path, value: float, place: tuple[int, int]
) -> None:
    images = particles()
    clean = prepare(table_of(tmp_path, images), SETTINGS)
    images[:, *place] = value
    stack = prepare(table_of(tmp_path, images), SETTINGS)
    assert f"{N} images had wild pixels replaced ({N} pixels)." in stack.notes
    # but for one pixel of noise they are what they were
    difference = (all_images(stack) - all_images(clean)).flatten(1).norm(dim=1)
    assert (difference < 0.2 * all_images(clean).flatten(1).norm(dim=1)).all()


def test_numbers_that_overflow_are_no_images(tmp_path: Path) -> None:
    images = particles()
    images[3:] = np.sign(images[3:] - 20) * 3e38
    stack = prepare(table_of(tmp_path, images), SETTINGS)
    assert stack.rows.tolist() == [0, 1, 2]
    assert torch.isfinite(all_images(stack)).all()
