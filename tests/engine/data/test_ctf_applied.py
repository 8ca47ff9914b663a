"""Images that were treated for their CTF make the same map as those that were not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.ctf import as_applied, ctf
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.data.table import CtfApplied, ParticleTable
from napari_cryospin.engine.judging.halves import back_project
from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.state.pose_table import PoseTable

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles

COLUMNS = {
    CtfApplied.NOTHING: "rlnUnused",
    CtfApplied.PHASES_FLIPPED: "rlnCtfDataArePhaseFlipped",
    CtfApplied.MULTIPLIED: "rlnCtfDataAreCtfPremultiplied",
}


def image_ctf(table: ParticleTable) -> np.ndarray:
    """Return the CTF of every image on the grid of a Fourier transform, (n, D, D)."""
    k = np.fft.fftfreq(table.box, table.pixel_size).astype(np.float32)
    grid = torch.from_numpy(np.stack(np.meshgrid(k, k), -1).reshape(-1, 2))
    defocus, group = table.defocus, table.optics[0]
    assert defocus is not None
    values = ctf(
        grid,
        **{n: torch.from_numpy(getattr(defocus, n)) for n in ("u", "v", "angle", "phase_shift")},
        voltage=torch.tensor([group.voltage]),
        cs=torch.tensor([group.spherical_aberration]),
        amplitude_contrast=torch.tensor([group.amplitude_contrast]),
    )
    return values.reshape(-1, table.box, table.box).numpy()


def treated(folder: Path, small_stack: Path, applied: CtfApplied, told: CtfApplied) -> Particles:
    """Write the small stack with images treated in one way, and a table that tells of another."""
    table = read_star(small_stack / "particles.star")
    images, values = mrcfile.read(small_stack / "particles.mrcs"), image_ctf(table)
    factor = {
        CtfApplied.NOTHING: np.ones_like(values),
        CtfApplied.PHASES_FLIPPED: np.sign(values),
        CtfApplied.MULTIPLIED: values,
    }[applied]
    folder.mkdir()
    with mrcfile.new(folder / "particles.mrcs") as file:
        file.set_data(np.fft.ifft2(np.fft.fft2(images) * factor).real.astype(np.float32))
        file.voxel_size = table.pixel_size
    text = (small_stack / "particles.star").read_text()
    head, rows = text.split("data_particles")
    *lines, group = head.rstrip().splitlines()
    block = "\n".join([*lines, f"_{COLUMNS[told]} #9", f"{group} 1", "", ""])
    (folder / "particles.star").write_text(block + "data_particles" + rows)
    return prepare(read_star(folder / "particles.star"), DataSettings(box=32))


def correlation(particles: Particles, rotations: Tensor, truth: Tensor) -> float:
    poses = PoseTable.empty(particles.n, 1, torch.device("cpu"))
    poses.rotations = rotations
    sums = back_project(particles, poses, torch.arange(particles.n), ImageModel.within(32, 14))
    found = map_of_grid(divide(sums))
    pair = torch.stack((found.flatten(), truth.flatten()))
    return float(torch.corrcoef(pair)[0, 1])


@pytest.mark.parametrize("applied", [CtfApplied.PHASES_FLIPPED, CtfApplied.MULTIPLIED])
def test_treated_images_make_the_map_that_plain_ones_make(
    tmp_path: Path,
    small_stack: Path,
    true_rotations: Tensor,
    true_map: Tensor,
    applied: CtfApplied,
) -> None:
    plain, told, untold = (
        correlation(treated(tmp_path / name, small_stack, *how), true_rotations, true_map)
        for name, how in {
            "plain": (CtfApplied.NOTHING, CtfApplied.NOTHING),
            "told": (applied, applied),
            "untold": (applied, CtfApplied.NOTHING),
        }.items()
    )
    assert plain > 0.6
    assert told > plain - 0.05
    assert untold < plain - 0.1


def test_each_image_has_the_transfer_function_of_what_was_done_to_it() -> None:
    values = torch.tensor([[-0.5, 0.5]]).expand(3, 2)
    found = as_applied(values, torch.tensor([0, 1, 2], dtype=torch.uint8))
    assert found.tolist() == [[-0.5, 0.5], [0.5, 0.5], [0.25, 0.25]]


def test_the_working_stack_squares_the_ctf_of_images_multiplied_by_it(
    tmp_path: Path, small_stack: Path
) -> None:
    particles = treated(tmp_path / "a", small_stack, CtfApplied.NOTHING, CtfApplied.MULTIPLIED)
    frequencies = torch.tensor([[0, 3], [5, 5]])
    plain = prepare(read_star(small_stack / "particles.star"), DataSettings(box=32))
    assert plain.ctf_applied is None
    rows = torch.tensor([3, 0])
    squared = plain.ctf(rows, frequencies).square()
    torch.testing.assert_close(particles.ctf(rows, frequencies), squared)
    torch.testing.assert_close(particles.to("cpu").ctf(rows, frequencies), squared)
