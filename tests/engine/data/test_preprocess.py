from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import torch

from napari_cryospin.engine.data import preprocess
from napari_cryospin.engine.data.ctf import ctf
from napari_cryospin.engine.data.normalise import soft_mask
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.table import Defocus, OpticsGroup, ParticleTable
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.fourier import disk, hartley_2d
from napari_cryospin.engine.settings import DataSettings
from particle_images import all_images

if TYPE_CHECKING:
    from pathlib import Path


def table_of(
    folder: Path, *stacks: np.ndarray, pixel_sizes: tuple[float, ...] = (2.0,)
) -> ParticleTable:
    """Write one stack for each optics group and return the table of all images."""
    paths = tuple(folder / f"{i}.mrcs" for i in range(len(stacks)))
    for path, images in zip(paths, stacks, strict=True):
        with mrcfile.new(path, overwrite=True) as file:
            file.set_data(images.astype(np.float32))
    group = np.repeat(np.arange(len(stacks)), [len(images) for images in stacks])
    return ParticleTable(
        source=folder / "particles.star",
        stacks=paths,
        stack_index=group,
        image_index=np.concatenate([np.arange(len(images)) for images in stacks]),
        optics=tuple(
            OpticsGroup(f"group{i}", pixel_size, images.shape[-1], 300.0, 2.7, 0.1)
            for i, (images, pixel_size) in enumerate(zip(stacks, pixel_sizes, strict=True))
        ),
        optics_index=group,
    )


def noise(n: int, box: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, box, box))


def blob(box: int, pixel_size: float, x: float, y: float, width: float = 12.0) -> np.ndarray:
    """Return a Gaussian at (x, y) Å from the origin, pixel box//2."""
    axis = (np.arange(box) - box // 2) * pixel_size
    return np.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * width**2))


def centre_of_mass(image: torch.Tensor, pixel_size: float) -> tuple[float, float]:
    weight = image.clamp(min=0.2 * float(image.max())) - 0.2 * image.max()
    axis = (torch.arange(len(image)) - len(image) // 2) * pixel_size
    total = weight.sum()
    return float((weight.sum(0) @ axis) / total), float((weight.sum(1) @ axis) / total)


@pytest.mark.parametrize("box", [32, 48, 64])
def test_noise_has_unit_variance_per_coefficient(tmp_path: Path, box: int) -> None:
    gain = np.linspace(0.5, 50, 100)[:, None, None]
    table = table_of(tmp_path, gain * noise(100, 64) + 7 * gain)
    stack = prepare(table, DataSettings(box=box))
    assert all_images(stack).shape == (100, box, box)
    assert stack.pixel_size == 2.0 * 64 / box
    mask = soft_mask(box, box)
    middle = all_images(stack)[:, mask == 1]
    assert middle.std() == pytest.approx(1, abs=0.03)
    # every image for itself, and every coefficient as far as the mask lets it
    np.testing.assert_allclose(middle.std(1), 1, atol=0.15)
    power = hartley_2d(all_images(stack)).square().mean()
    assert power == pytest.approx(float(mask.square().mean()), rel=0.03)


def test_background_has_zero_mean_and_the_mask_ends_softly(tmp_path: Path) -> None:
    images = all_images(prepare(table_of(tmp_path, noise(200, 32) + 100), DataSettings(box=32)))
    assert abs(float(images.mean())) < 0.01
    assert (images[:, soft_mask(32, 32) == 0] == 0).all()
    edge = soft_mask(32, 32)[16, 16:]
    assert edge[0] == 1
    assert (edge.diff() <= 0).all()
    assert ((edge > 0) & (edge < 1)).sum() >= 2


def test_mask_diameter_is_in_angstrom(tmp_path: Path) -> None:
    settings = DataSettings(box=32, mask_diameter=20)
    images = all_images(prepare(table_of(tmp_path, noise(20, 32)), settings))
    row = images[:, 16].abs().amax(0) > 0
    # 20 Å are 10 pixels, and a soft edge of 3 more on either side, 0 at its end
    assert row.nonzero().flatten().tolist() == list(range(9, 24))


@pytest.mark.parametrize("size", [64, 65, 63])
def test_fourier_crop_keeps_content_where_it_is(tmp_path: Path, size: int) -> None:
    image = blob(size, 2.0, x=14.0, y=-22.0) + 1e-3 * noise(1, size)
    stack = prepare(table_of(tmp_path, image), DataSettings(box=32))
    assert stack.box == 32
    found = centre_of_mass(all_images(stack)[0], stack.pixel_size)
    np.testing.assert_allclose(found, (14, -22), atol=0.5)


def test_a_working_box_beyond_the_images_is_reduced_and_told(tmp_path: Path) -> None:
    stack = prepare(table_of(tmp_path, noise(3, 33)), DataSettings(box=64))
    assert all_images(stack).shape == (3, 32, 32)
    assert stack.pixel_size == 2.0
    assert any("32 pixels, not 64" in note for note in stack.notes)


def test_optics_groups_come_to_one_scale(tmp_path: Path) -> None:
    coarse = blob(48, 4.0, 20, -12)[None] + 1e-3 * noise(1, 48)
    fine = blob(112, 2.0, 20, -12)[None] + 1e-3 * noise(1, 112)
    table = table_of(tmp_path, coarse, fine, pixel_sizes=(4.0, 2.0))
    stack = prepare(table, DataSettings(box=32))
    assert stack.pixel_size == 6.0
    a, b = (image.flatten() for image in all_images(stack))
    assert torch.corrcoef(torch.stack((a, b)))[0, 1] > 0.999
    assert stack.notes == ()


def test_a_scale_error_that_is_left_is_told(tmp_path: Path) -> None:
    table = table_of(tmp_path, noise(2, 32), noise(2, 32), pixel_sizes=(2.0, 2.03))
    notes = prepare(table, DataSettings(box=32)).notes
    assert any("'group1'" in note and "+1.5%" in note for note in notes)


@pytest.mark.parametrize(
    ("white_in_table", "contrast", "sign"),
    [
        (True, "as table", 1),
        (False, "as table", -1),
        (True, "black", -1),
        (False, "white", 1),
    ],
)
def test_particles_become_white(
    tmp_path: Path, white_in_table: bool, contrast: str, sign: int
) -> None:
    table = table_of(tmp_path, blob(32, 2.0, 0, 0)[None] + 0.01 * noise(1, 32))
    table = replace(table, particles_are_white=white_in_table)
    stack = prepare(table, DataSettings(box=32, contrast=contrast))
    assert np.sign(float(all_images(stack)[0, 16, 16])) == sign
    assert any("inverted" in note for note in stack.notes) == (sign < 0)


def test_the_first_particles_are_taken_in_table_order(tmp_path: Path) -> None:
    table = table_of(tmp_path, noise(10, 32))
    table = replace(table, image_index=table.image_index[::-1].copy())
    everything = prepare(replace(table), DataSettings(box=32))
    few = prepare(table, DataSettings(box=32, max_particles=4))
    assert few.rows.tolist() == [0, 1, 2, 3]
    ratio = all_images(few)[:, 16, 16] / all_images(everything)[:4, 16, 16]
    np.testing.assert_allclose(ratio, float(ratio[0]), rtol=1e-4)


def test_works_in_chunks_and_tells_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_of(tmp_path, noise(5, 48), noise(4, 48), pixel_sizes=(2.0, 2.0))
    at_once = prepare(table, DataSettings(box=32))
    monkeypatch.setattr(preprocess, "_CHUNK_BYTES", 2 * 4 * 48**2)
    seen: list[tuple[int, int]] = []
    in_chunks = prepare(table, DataSettings(box=32), lambda *state: seen.append(state))
    assert seen == [(2, 9), (4, 9), (5, 9), (7, 9), (9, 9)]
    torch.testing.assert_close(all_images(in_chunks), all_images(at_once))


def test_images_without_noise_are_usable_and_told(tmp_path: Path) -> None:
    image = blob(32, 2.0, 0, 0)
    image[image < 0.05] = 0
    stack = prepare(table_of(tmp_path, image[None]), DataSettings(box=32))
    assert 0.5 < float(all_images(stack).max()) < 10
    assert any("no noise" in note for note in stack.notes)


def test_ctf_is_that_of_each_particle_at_the_physical_frequency(tmp_path: Path) -> None:
    table = table_of(tmp_path, noise(3, 64))
    values = [np.array(v, np.float32) for v in ([1e4, 2e4, 3e4], [9e3, 2e4, 2e4], [10, 0, 50])]
    table = replace(table, defocus=Defocus(*values, np.zeros(3, np.float32)))
    stack = prepare(table, DataSettings(box=32))
    frequencies = disk(32, 12)
    found = stack.ctf(torch.tensor([2, 0]), frequencies)
    full = torch.full((2,), 1.0)
    expected = ctf(
        frequencies / (64 * 2.0),
        u=torch.tensor([3e4, 1e4]),
        v=torch.tensor([2e4, 9e3]),
        angle=torch.tensor([50.0, 10.0]),
        phase_shift=0 * full,
        voltage=300 * full,
        cs=2.7 * full,
        amplitude_contrast=0.1 * full,
    )
    torch.testing.assert_close(found, expected)
    assert stack.ctf(None, frequencies).shape == (3, len(frequencies))


def test_without_ctf_it_is_one(tmp_path: Path) -> None:
    stack = prepare(table_of(tmp_path, noise(3, 32)), DataSettings(box=32)).to("cpu")
    assert stack.n == 3
    assert stack.ctf_parameters is None
    assert (stack.ctf(torch.tensor([1]), disk(32, 5)) == 1).all()
    assert stack.ctf(None, disk(32, 5)).shape[0] == 3


def test_missing_images_are_an_error_only_here(tmp_path: Path) -> None:
    table = table_of(tmp_path, noise(3, 32))
    table.stacks[0].unlink()
    with pytest.raises(InputError, match=r"0\.mrcs was not found"):
        prepare(table, DataSettings(box=32))
