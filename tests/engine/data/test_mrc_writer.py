from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.mrc_writer import write_map, write_mrcs

if TYPE_CHECKING:
    from pathlib import Path


def some(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_map_comes_back(tmp_path: Path) -> None:
    volume = some(16, 16, 16)
    write_map(tmp_path / "map.mrc", volume.transpose(2, 1, 0), 1.25)
    found, pixel_size = read_map(tmp_path / "map.mrc")
    assert np.array_equal(found, volume.transpose(2, 1, 0))
    assert pixel_size == pytest.approx(1.25)
    assert mrcfile.validate(tmp_path / "map.mrc")


def test_a_stack_comes_back(tmp_path: Path) -> None:
    images = some(7, 16, 16)
    write_mrcs(tmp_path / "stack.mrcs", (images[:4], images[4:]), 7, 1.25)
    with mrcfile.open(tmp_path / "stack.mrcs") as found:
        assert np.array_equal(found.data, images)
        assert found.is_image_stack()
    table = read_table(tmp_path / "stack.mrcs")
    assert (table.n_particles, table.optics[0].pixel_size) == (7, pytest.approx(1.25))
    assert mrcfile.validate(tmp_path / "stack.mrcs")


def test_a_stack_of_other_images_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 images"):
        write_mrcs(tmp_path / "stack.mrcs", [some(3, 16, 16)], 4, 1.0)
    assert not list(tmp_path.iterdir())
