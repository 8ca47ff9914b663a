"""Our poses, shifts and projections are RELION's: images made by relion_project are reproduced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import starfile
import torch

from napari_cryospin.engine.data.density import fit_map
from napari_cryospin.engine.geometry.euler import matrices_from_euler
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def poses(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotations, and origin shifts in pixels; read_star would want a pixel size, too."""
    blocks = starfile.read(path, always_dict=True)
    table = blocks.get("particles", next(iter(blocks.values())))
    angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
    pixels = [name if name in table else f"{name}Angst" for name in ("rlnOriginX", "rlnOriginY")]
    return matrices_from_euler(angles), table[pixels].to_numpy(dtype=np.float64)


# the map of the first stack was cropped from 65 to 64 voxels about its corner: its centre lies off
_CORNER = -32 / 65


@pytest.mark.parametrize(
    ("name", "centre"),
    [("rln_proj_64", _CORNER), ("rln_proj_64_centered", 0), ("rln_proj_64_shifted", 0)],
)
def test_projections_equal_relions(shared_data: Path, name: str, centre: float) -> None:
    folder = shared_data / "particles" / "relion_oracle_64"
    volume = np.load(folder / "clean70SRibosome_vol.npy", allow_pickle=False)
    volume = fit_map(volume, 1.0, 64, 65 / 64)
    rotations, shifts = poses(folder / f"{name}.star")
    with mrcfile.open(folder / f"{name}.mrcs") as mrc:
        observed = np.array(mrc.data)
    model = ImageModel.within(64, 32)
    slices = Projector(torch.from_numpy(volume)).slices(
        torch.from_numpy(rotations).float(), model.frequencies
    )
    moved = rotations[:, :2] @ np.full(3, centre) - shifts
    projected = model.images(model.shift(slices, torch.from_numpy(moved).float())).numpy()
    for ours, theirs in zip(projected, observed, strict=True):
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
