"""RELION finds nothing to change in a map that was turned to the axes of its symmetry."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from assemblies import BOX, assembly, turned_away
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_axes import symmetry_frame
from napari_cryospin.engine.geometry.symmetry_search import likely_groups

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = [
    pytest.mark.relion,
    pytest.mark.skipif(not shutil.which("relion_image_handler"), reason="RELION is not installed"),
]


def symmetrised(folder: Path, volume: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Return a map as RELION makes it symmetric."""
    with mrcfile.new(folder / "in.mrc", overwrite=True) as file:
        file.set_data(volume)
        file.voxel_size = 4.0
    command = ["relion_image_handler", "--i", "in.mrc", "--o", "out.mrc", "--sym", name]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found: NDArray[np.float32] = mrcfile.read(folder / "out.mrc")
    return found


def alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("name", ["C4", "D2", "D7", "T", "O", "I", "I1"])
def test_relion_leaves_a_turned_map_as_it_is(tmp_path: Path, name: str) -> None:
    volume = turned_away(assembly(name))
    # as it lies it has no axis where RELION looks for it
    assert alike(symmetrised(tmp_path, volume, name), volume) < 0.97
    turned = symmetry_frame(volume, point_group(name)).turned(volume)
    assert alike(symmetrised(tmp_path, turned, name), turned) > 0.99


@pytest.mark.parametrize("name", ["C4", "D7", "O", "I"])
def test_relion_finds_the_symmetry_that_was_named(tmp_path: Path, name: str) -> None:
    volume = turned_away(assembly(name))
    # the largest of those that the map has
    named, frame = next(each for each in likely_groups(volume) if each[1].correlation > 0.9)
    assert named == name
    turned = frame.turned(volume)
    assert alike(symmetrised(tmp_path, turned, named), turned) > 0.99


@pytest.mark.skipif(not shutil.which("relion_align_symmetry"), reason="it is not installed")
@pytest.mark.parametrize("name", ["C4", "D2"])
def test_relion_turns_a_map_to_the_same_axes(tmp_path: Path, name: str) -> None:
    """What its own program turns and what this one turns are alike, but for a turn of the axes."""
    volume = turned_away(assembly(name))
    with mrcfile.new(tmp_path / "in.mrc") as file:
        file.set_data(volume)
        file.voxel_size = 4.0
    command = ["relion_align_symmetry", "--i", "in.mrc", "--o", "aligned.mrc", "--sym", name]
    command += ["--box_size", str(BOX), "--nr_uniform", "4000"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    aligned = mrcfile.read(tmp_path / "aligned.mrc")
    frame = symmetry_frame(aligned, point_group(name))
    # every turn of the group about our axes is one about RELION's, as near as its steps go
    ours = frame.rotation @ point_group(name) @ frame.rotation.T
    nearest = [np.linalg.norm(point_group(name) - turn, axis=(1, 2)).min() for turn in ours]
    assert max(nearest) < 0.25
