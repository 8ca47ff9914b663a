from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.ctf import ctf, electron_wavelength
from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.data.table import Defocus, OpticsGroup, ParticleTable
from napari_cryospin.engine.geometry.rotations import random_rotations

if TYPE_CHECKING:
    from pathlib import Path


def values(frequencies: list[tuple[float, float]], **changes: float) -> np.ndarray:
    parameters = {
        "u": 15000.0,
        "v": 15000.0,
        "angle": 0.0,
        "phase_shift": 0.0,
        "voltage": 300.0,
        "cs": 2.7,
        "amplitude_contrast": 0.1,
    } | changes
    tensors = {name: torch.tensor([value]) for name, value in parameters.items()}
    return ctf(torch.tensor(frequencies), **tensors)[0].numpy()


def test_is_plus_the_amplitude_contrast_at_the_origin_and_rises_with_underfocus() -> None:
    at_origin, nearby = values([(0.0, 0.0), (0.005, 0.0)])
    assert at_origin == pytest.approx(0.1, abs=1e-6)
    assert nearby > at_origin


def test_a_phase_plate_of_90_degrees_turns_sine_into_cosine() -> None:
    assert values([(0.0, 0.0)], phase_shift=90.0)[0] == pytest.approx(np.sqrt(0.99), abs=1e-6)


def test_astigmatism_angle_points_from_x_to_the_axis_of_u() -> None:
    k = 0.04
    direction = (k * np.cos(np.radians(30)), k * np.sin(np.radians(30)))
    across = (-direction[1], direction[0])
    along_u, along_v = values([direction, across], u=20000.0, v=10000.0, angle=30.0)
    assert along_u == pytest.approx(values([(k, 0.0)], u=20000.0, v=20000.0)[0], abs=1e-4)
    assert along_v == pytest.approx(values([(k, 0.0)], u=10000.0, v=10000.0)[0], abs=1e-4)


def test_wavelength_is_relativistic() -> None:
    assert electron_wavelength(torch.tensor(300.0)).item() == pytest.approx(0.0196875, rel=1e-4)


def test_keeps_its_precision_at_high_defocus_and_frequency() -> None:
    k, defocus = 0.5, 40000.0
    wavelength = 12.2643247 / np.sqrt(300e3 * (1 + 300e3 * 0.978466e-6))
    phase = np.pi * wavelength * defocus * k**2 - np.pi / 2 * 2.7e7 * wavelength**3 * k**4
    expected = np.sin(phase + np.arcsin(np.float32(0.1)))
    assert values([(k, 0.0)], u=defocus, v=defocus, cs=2.7)[0] == pytest.approx(expected, abs=1e-4)


BOX, PIXEL_SIZE, N = 48, 3.0, 6


def write_relion_input(folder: Path) -> ParticleTable:
    rng = np.random.default_rng(0)
    volume = np.zeros((BOX,) * 3, np.float32)
    volume[14:34, 14:34, 14:34] = rng.normal(size=(20, 20, 20))
    with mrcfile.new(folder / "map.mrc") as file:
        file.set_data(volume)
        file.voxel_size = PIXEL_SIZE
    u = rng.uniform(8000, 20000, N).astype(np.float32)
    defocus = Defocus(
        u=u,
        v=u - rng.uniform(0, 2000, N).astype(np.float32),
        angle=rng.uniform(-90, 90, N).astype(np.float32),
        phase_shift=np.array([0, 0, 90, 30, 0, 45], np.float32),
    )
    table = ParticleTable(
        source=folder / "poses.star",
        stacks=(folder / "none.mrcs",),
        stack_index=np.zeros(N, np.int64),
        image_index=np.arange(N),
        optics=(
            OpticsGroup("a", PIXEL_SIZE, BOX, 300.0, 2.7, 0.1),
            OpticsGroup("b", PIXEL_SIZE, BOX, 200.0, 1.4, 0.07),
        ),
        optics_index=np.arange(N) % 2,
        defocus=defocus,
    )
    poses = random_rotations(N, rng)
    write_star(table.source, table, np.arange(N), rotations=poses, shifts=np.zeros((N, 2)))
    return table


@pytest.mark.relion
@pytest.mark.skipif(not shutil.which("relion_project"), reason="RELION is not installed")
def test_equals_relions(tmp_path: Path) -> None:
    table = write_relion_input(tmp_path)
    command = ["relion_project", "--i", "map.mrc", "--ang", "poses.star"]
    command += ["--angpix", str(PIXEL_SIZE)]
    for options in (["--o", "plain"], ["--o", "with_ctf", "--ctf"]):
        subprocess.run([*command, *options], cwd=tmp_path, check=True, capture_output=True)
    plain, with_ctf = (
        np.fft.fft2(mrcfile.read(tmp_path / f"{name}.mrcs").astype(np.float64))
        for name in ("plain", "with_ctf")
    )
    k = np.fft.fftfreq(BOX, 1 / BOX)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    assert table.defocus is not None
    groups = [table.optics[i] for i in table.optics_index]
    ours = ctf(
        torch.from_numpy(np.stack((kx.ravel(), ky.ravel()), -1)) / (BOX * PIXEL_SIZE),
        u=torch.from_numpy(table.defocus.u),
        v=torch.from_numpy(table.defocus.v),
        angle=torch.from_numpy(table.defocus.angle),
        phase_shift=torch.from_numpy(table.defocus.phase_shift),
        voltage=torch.tensor([group.voltage for group in groups]),
        cs=torch.tensor([group.spherical_aberration for group in groups]),
        amplitude_contrast=torch.tensor([group.amplitude_contrast for group in groups]),
    )
    inside = np.hypot(kx, ky) < BOX / 2 - 1
    expected = with_ctf[:, inside]
    found = ours.numpy().reshape(N, BOX, BOX)[:, inside] * plain[:, inside]
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
