"""A run over a stack with bad images: particles are missing in the middle of the table."""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import read_epoch, read_snapshot
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import DirectStage

if TYPE_CHECKING:
    from pathlib import Path

BLANK, MISSING, BEADS = [3, 50, 51], [4, 120], [0, 60, 100, 140, 180, 199]
BAD = sorted(BLANK + MISSING + BEADS)
GOOD = [row for row in range(200) if row not in BAD]


def damage(path: Path) -> None:
    with mrcfile.mmap(path, mode="r+") as file:
        deviation = file.data.std()
        file.data[BLANK] = 1
        file.data[MISSING] = np.nan
        file.data[BEADS, 4:12, 10:18] += 50 * deviation
        file.data[7, 20, 20] += 500 * deviation


@pytest.fixture(scope="module")
def stack(small_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a stack with bad images, and of a run with it in ``run``; read it only."""
    folder = tmp_path_factory.mktemp("bad") / "stack"
    shutil.copytree(small_stack, folder)
    damage(folder / "particles.mrcs")
    settings = Settings.from_preset("default")
    settings.threads = settings.starts = 1
    settings.data.stack = folder / "particles.star"
    settings.data.truth_star = folder / "truth.star"
    settings.data.truth_map = folder / "truth.mrc"
    settings.data.box = 32
    settings.stages = [DirectStage(epochs=1)]
    list(Reconstruction(settings, folder / "run").run())
    return folder


def test_what_is_set_aside_is_said_and_listed(stack: Path) -> None:
    first, *_ = (stack / "run" / "events.jsonl").read_text().splitlines()
    started = json.loads(first)
    assert started["n_particles"] == len(GOOD)
    assert started["notes"][-2].startswith(
        "11 of 200 images are set aside (3 blank, 2 with NaN or infinite values, 6 with a gold "
        "bead or the like); 1 image had wild pixels replaced (1 pixel)."
    )
    assert started["notes"][-1].startswith("6 % of the images cannot be used")
    with (stack / "run" / "set_aside.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [int(row["particle"]) - 1 for row in listed] == BAD
    assert [int(row["image"]) - 1 for row in listed] == BAD


def test_results_hold_the_particles_in_use_under_their_own_names(stack: Path) -> None:
    found = read_star(stack / "run" / "particles.star")
    assert found.image_index.tolist() == GOOD


def test_a_window_sees_the_same_rows_and_their_truth(stack: Path) -> None:
    folder = RunFolder(stack / "run")
    snapshot = read_snapshot(folder)
    assert snapshot.particles.rows.tolist() == GOOD
    assert snapshot.poses.rotations.shape == (len(GOOD), 3, 3)
    truth = read_star(stack / "truth.star").rotations
    assert truth is not None
    assert snapshot.truth is not None
    np.testing.assert_array_equal(snapshot.truth.rotations, truth[GOOD])
    _, poses = read_epoch(folder, 0, snapshot.particles, snapshot.truth)
    assert len(poses.used) == len(GOOD)
    # written poses stand in the rows of their particles
    written = read_star(stack / "run" / "particles.star").rotations
    assert written is not None
    np.testing.assert_allclose(written, snapshot.poses.rotations, atol=1e-5)


def test_a_run_goes_on_with_the_same_rows(stack: Path, tmp_path: Path) -> None:
    shutil.copytree(stack / "run", tmp_path / "run")
    settings = RunFolder(tmp_path / "run").settings()
    settings.stages = [DirectStage(epochs=2)]
    RunFolder(tmp_path / "run").write_settings(settings)
    resumed = Reconstruction.resume(tmp_path / "run")
    last = list(resumed.run())[-1]
    assert type(last).__name__ == "Finished", last
    assert resumed.particles is not None
    assert resumed.particles.rows.tolist() == GOOD
