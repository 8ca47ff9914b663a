"""A run of particles as picked: what it tells of outliers, and of a symmetry that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine import events
from napari_cryospin.engine.data.belonging import MEMBERSHIP
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.texts import numbers_of
from napari_cryospin.engine.run.export import export_poses
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.metrics import read_metrics
from napari_cryospin.engine.runfolder.records import read_poses
from napari_cryospin.engine.stages import AmortizedStage, DirectStage
from small_searches import made_small

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def picked(settings: Settings) -> Settings:
    """Settings of a run as short as can be, which looks for outliers and has a symmetry."""
    settings.model.encoder, settings.model.encoder_width = "polar", 16
    settings.model.symmetry = "D2"
    settings.stages = [
        AmortizedStage(teacher="posterior", epochs=1, batch_size=80, lessons=2),
        DirectStage(
            epochs=2,
            batch_size=80,
            pose_update="gauss-newton",
            pose_steps=1,
            volume_update="closed form",
            hypotheses=2,
            searches=1,
        ),
    ]
    return settings


def memberships(path: Path) -> np.ndarray:
    original = read_table(path).original
    assert isinstance(original, StarOriginal)
    return numbers_of(original.blocks[original.particles][MEMBERSHIP])


def test_a_run_tells_who_belongs_and_has_its_symmetry(picked: Settings, tmp_path: Path) -> None:
    with made_small():
        stream = list(Reconstruction(picked, tmp_path / "run").run())
    assert isinstance(stream[-1], events.Finished)
    folder = RunFolder(tmp_path / "run")
    told = memberships(folder.star_path)
    poses = read_poses(folder, 2)
    assert np.allclose(told, poses.membership, atol=1e-3) and (told < 1).any()
    assert ((told >= 0) & (told <= 1)).all()
    last = read_metrics(folder.metrics_path).epochs[-1]
    assert last.outliers == pytest.approx(float((told < 0.5).mean()), abs=1e-4)
    export_poses(folder, tmp_path / "out.star")
    assert np.allclose(memberships(tmp_path / "out.star"), told, atol=1e-5)
    volume, _ = read_map(folder.map_path)
    # without the first planes, which have no counterpart
    inner = volume[1:, 1:, 1:]
    for axes in ((1, 2), (0, 1)):
        turned = np.flip(inner, axes)
        assert np.corrcoef(turned.ravel(), inner.ravel())[0, 1] > 0.999


def test_without_outliers_all_belong(picked: Settings, tmp_path: Path) -> None:
    picked.model.outliers, picked.model.symmetry = False, "C1"
    with made_small():
        stream = list(Reconstruction(picked, tmp_path / "run").run())
    folder = RunFolder(tmp_path / "run")
    assert (memberships(folder.star_path) == 1).all()
    done = [event for event in stream if isinstance(event, events.EpochDone)]
    assert [each.outliers for each in done] == [None] * len(done)
    assert not any(
        isinstance(event, events.Progress) and event.task == "Looking for outliers"
        for event in stream
    )


@pytest.mark.parametrize("after", [1, 2])
def test_it_is_resumed_on_its_trajectory(picked: Settings, tmp_path: Path, after: int) -> None:
    with made_small():
        list(Reconstruction(picked, tmp_path / "whole").run())
        run = Reconstruction(picked, tmp_path / "parts")
        epochs = 0
        for event in run.run():
            epochs += isinstance(event, events.EpochDone)
            if epochs == after:
                run.controls.stop(results=False)
        list(Reconstruction.resume(tmp_path / "parts").run())
    whole, parts = (RunFolder(tmp_path / name) for name in ("whole", "parts"))
    assert np.array_equal(memberships(whole.star_path), memberships(parts.star_path))
    assert np.array_equal(read_map(whole.map_path)[0], read_map(parts.map_path)[0])
