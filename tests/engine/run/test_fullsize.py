from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.density import fit_map
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.resize import fourier_crop, real_crop, working_sizes
from napari_cryospin.engine.data.table import OpticsGroup
from napari_cryospin.engine.run.fullsize import first_group, full_size

if TYPE_CHECKING:
    from napari_cryospin.engine.data.table import ParticleTable


def test_the_fourier_crop_is_taken_back() -> None:
    fine = procedural_molecule(48, 3.0)
    small = fit_map(fine, 3.0, 32, 4.5)
    found = full_size(small, 4.5, OpticsGroup("a", 3.0, 48))
    assert found.shape == (48, 48, 48)
    assert np.corrcoef(found.ravel(), fine.ravel())[0, 1] > 0.97
    # what the small map does not hold is not made up
    again = fit_map(found, 3.0, 32, 4.5)
    assert np.corrcoef(again.ravel(), small.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("box", [48, 49, 60])
def test_it_lies_where_the_particles_lie(box: int) -> None:
    """A point at the origin is there in the images' crop, and in the map's padding."""
    optics = (OpticsGroup("a", 3.0, box), OpticsGroup("b", 4.0, 36))
    sizes, _ = working_sizes(optics, 32)
    image = torch.zeros(1, box, box)
    image[0, box // 2, box // 2] = 1
    small = fourier_crop(real_crop(image, sizes.crops[0]), sizes.box)
    assert np.unravel_index(int(small.argmax()), small.shape)[1:] == (16, 16)
    volume = np.zeros((32, 32, 32), np.float32)
    volume[16, 16, 16] = 1
    found = full_size(volume, sizes.pixel_size, optics[0])
    assert found.shape == (box,) * 3
    assert np.unravel_index(found.argmax(), found.shape) == (box // 2,) * 3


def test_the_first_group_with_particles_decides(shared_data: object) -> None:
    from napari_cryospin.engine.data.star import read_star

    table: ParticleTable = read_star(shared_data / "corner_cases" / "two_optics_groups.star")
    second = np.flatnonzero(table.optics_index == 1)
    assert first_group(table, np.arange(table.n_particles)) is table.optics[0]
    assert first_group(replace(table), second) is table.optics[1]
