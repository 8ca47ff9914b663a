"""The particle stack that every program gets: cropped to the working box, of unit noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import starfile
import torch

from napari_cryospin.engine.data.normalise import normalise
from napari_cryospin.engine.data.resize import fourier_crop

if TYPE_CHECKING:
    from pathlib import Path


def write_working_stack(simulated: Path, box: int, folder: Path) -> Path:
    """Crop a simulated stack in Fourier space and write it for RELION; return its star file.

    Parameters
    ----------
    simulated
        Folder with ``particles.star`` and ``particles.mrcs``.
    box
        Pixels.
    folder
        Where ``particles.star`` and ``particles.mrcs`` are written: the names of the images stay
        those of the simulated stack, by which poses are compared with the truth.
    """
    path = folder / "particles.star"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    blocks = starfile.read(simulated / "particles.star", always_dict=True)
    with mrcfile.open(simulated / "particles.mrcs") as stack:
        images = torch.from_numpy(np.array(stack.data, dtype=np.float32))
    optics = blocks["optics"]
    pixel_size = float(optics["rlnImagePixelSize"].iloc[0]) * images.shape[-1] / box
    cropped, _, _ = normalise(fourier_crop(images, box), box)
    with mrcfile.new(folder / "particles.mrcs", cropped.numpy(), overwrite=True) as stack:
        stack.voxel_size = pixel_size
    optics["rlnImagePixelSize"], optics["rlnImageSize"] = pixel_size, box
    starfile.write(blocks, path)
    return path
