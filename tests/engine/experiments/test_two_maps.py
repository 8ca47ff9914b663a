"""Two maps in one frame: that of the first."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.experiments.records import read_record
from napari_cryospin.engine.experiments.two_maps import two_maps
from napari_cryospin.engine.geometry.hand import mirrored_poses
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import write_poses

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.experiments.records import RunRecord


def test_another_hand_is_found_and_turned(finished_experiment: Path, tmp_path: Path) -> None:
    first = read_record(finished_experiment / "seed-0_switch-2")
    other = shutil.copytree(first.folder, tmp_path / "mirrored")
    folder = RunFolder(other)
    poses = folder.poses()
    write_poses(
        folder,
        dataclasses.replace(poses, rotations=mirrored_poses(poses.rotations).astype(np.float32)),
    )
    found = two_maps(first, read_record(other))
    assert "mirrored" in found.note and "0.0°" in found.note
    # the second map itself was not turned on the disk: in the frame of the first it now is
    volume, _ = read_map(RunFolder(first.folder).maps()[-1])
    np.testing.assert_allclose(found.first, volume)
    assert not np.allclose(found.second, volume, atol=1e-3 * np.abs(volume).max())


def test_the_same_run_twice_stays_as_it_is(records: dict[str, RunRecord]) -> None:
    record = records["seed-0_switch-2"]
    found = two_maps(record, record)
    inside = (slice(8, 24),) * 3
    scale = float(np.abs(found.first).max())
    np.testing.assert_allclose(found.second[inside], found.first[inside], atol=0.02 * scale)
    assert found.pixel_sizes[0] == found.pixel_sizes[1]


def test_other_particles_have_no_common_frame(records: dict[str, RunRecord]) -> None:
    record = records["seed-0_switch-2"]
    settings = record.settings.model_copy(deep=True)
    settings.data.max_particles = 20
    found = two_maps(record, dataclasses.replace(record, settings=settings))
    assert "other particles" in found.note
    np.testing.assert_array_equal(found.first, found.second)


def test_a_run_without_a_map_is_refused(copied_experiment: Path) -> None:
    folder = copied_experiment / "seed-0_switch-1"
    (folder / "map.mrc").unlink()
    for path in (folder / "volumes").iterdir():
        path.unlink()
    record = read_record(folder)
    with pytest.raises(InputError, match="has no map yet"):
        two_maps(record, record)
