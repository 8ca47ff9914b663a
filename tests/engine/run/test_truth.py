"""The truth beside the poses of a run: aligned when it is looked at, on a bounded number."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.events import BatchDone, PosesUpdated
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.run import loop, truth
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def aligned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of particles of each alignment with the truth."""
    numbers: list[int] = []
    align = truth.align_rotations

    def counted(
        estimated: NDArray[np.floating], true: NDArray[np.floating], group: object
    ) -> object:
        assert group is None
        numbers.append(len(estimated))
        return align(estimated, true)

    monkeypatch.setattr(truth, "align_rotations", counted)
    return numbers


def test_poses_are_aligned_with_the_truth_when_somebody_looks(
    finished_run: Path, aligned: list[int]
) -> None:
    poses = read_snapshot(RunFolder(finished_run)).poses
    assert not aligned
    assert poses.truth is not None and poses.truth is poses.truth
    assert len(aligned) == 1


def test_some_particles_decide_on_the_frame(aligned: list[int]) -> None:
    n, rng = 20_011, np.random.default_rng(3)
    true = Rotation.random(n, random_state=1).as_matrix()
    turn = Rotation.random(random_state=2).as_matrix()
    noise = Rotation.from_rotvec(np.radians(2) * rng.standard_normal((n, 3))).as_matrix()
    known = truth.Truth(true, np.zeros((n, 2)), None, 1.0, np.ones(n, bool))
    rotations = (noise @ true @ turn).astype(np.float32)
    found = known.in_frame_of(rotations, np.ones(n, bool))
    assert found.shape == (n, 3, 3) and aligned[0] <= 5000
    # 2° times √2 of each of 4,002 particles
    assert angular_distance(found, true @ turn).max() < 0.2


def test_poses_that_take_long_to_copy_are_shown_less_often(
    short_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poses_event, took = loop.Loop.poses_event, 0.0

    def slow(of: loop.Loop, **how: bool) -> PosesUpdated:
        time.sleep(took)
        return poses_event(of, **how)

    def live(name: str) -> int:
        stream = Reconstruction(short_settings, tmp_path / name).run()
        return sum(
            isinstance(before, BatchDone) and isinstance(event, PosesUpdated)
            for before, event in itertools.pairwise(stream)
        )

    monkeypatch.setattr(loop.Loop, "poses_event", slow)
    monkeypatch.setattr(loop, "_POSES_INTERVAL", 0.0)
    monkeypatch.setattr(loop, "_MAP_INTERVAL", 1e9)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_POSES_SHARE", 1e9)
        quick = live("quick")
    took = 0.1
    # ten seconds lie between two
    assert 3 * live("slow") < quick
