"""A run of several classes: its maps, its files, its verdict, and its way from a checkpoint."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine import events
from napari_cryospin.engine.data.class_columns import CLASS
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.texts import numbers_of
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.run.export import export_poses
from napari_cryospin.engine.run.inferring import infer
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.rejudging import training_of
from napari_cryospin.engine.run.results import write_results
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.runfolder.class_files import maps_of_classes, of_class
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.metrics import read_metrics
from napari_cryospin.engine.runfolder.records import read_poses
from napari_cryospin.engine.stages import AmortizedStage, DirectStage, MarginalStage
from small_searches import made_small

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings

DECODED = DirectStage(
    epochs=2,
    batch_size=80,
    pose_update="gauss-newton",
    pose_steps=1,
    volume_update="closed form",
    hypotheses=2,
    searches=1,
)
ENCODED = AmortizedStage(teacher="posterior", epochs=1, batch_size=80, lessons=2)


@pytest.fixture
def classed(settings: Settings) -> Settings:
    """Settings of a run of two classes that is as short as can be."""
    settings.model.encoder, settings.model.encoder_width = "polar", 16
    settings.model.classes = 2
    settings.stages = [ENCODED, DECODED]
    return settings


def column(path: Path, name: str) -> np.ndarray:
    original = read_table(path).original
    assert isinstance(original, StarOriginal)
    return numbers_of(original.blocks[original.particles][name])


def test_each_class_has_its_files(classed: Settings, tmp_path: Path) -> None:
    with made_small():
        stream = list(Reconstruction(classed, tmp_path / "run").run())
    last = stream[-1]
    assert isinstance(last, events.Finished) and last.verdict is not None
    folder = RunFolder(tmp_path / "run")
    classes = column(folder.star_path, CLASS).astype(int)
    assert set(classes) == {1, 2}
    weights = np.stack([column(folder.star_path, f"cryospinClass{n}") for n in (1, 2)], 1)
    assert np.allclose(weights.sum(1), 1, atol=1e-5)
    assert (weights.argmax(1) + 1 == classes).mean() > 0.9
    poses = read_poses(folder, 2)
    assert np.array_equal(poses.classes + 1, classes)
    assert np.allclose(poses.class_weights, weights, atol=1e-3)
    done = read_metrics(folder.metrics_path).epochs[-1]
    assert sum(done.class_share) == pytest.approx(1, abs=1e-3) and len(done.class_share) == 2
    # the largest one's are the run's
    largest = int(np.argmax(done.class_share)) + 1
    for path in (folder.map_path, *folder.half_map_paths):
        assert np.array_equal(read_map(path)[0], read_map(of_class(path, largest))[0])
        assert not np.array_equal(read_map(of_class(path, 1))[0], read_map(of_class(path, 2))[0])
    assert len(maps_of_classes(folder.epoch_map_path(2))) == 2
    assert last.verdict.class_shares == pytest.approx(done.class_share, abs=1e-3)
    assert last.verdict == folder.verdict()
    updates = [event for event in stream if isinstance(event, events.VolumeUpdated)]
    assert all(len(event.maps) == 2 for event in updates)
    snapshot = read_snapshot(folder)
    assert len(snapshot.volume.maps) == 2 and np.array_equal(snapshot.poses.classes + 1, classes)


def test_a_class_that_nobody_is_in_takes_no_other_s_place(run_of_two: Path, tmp_path: Path) -> None:
    """At the end of a run it has no file: the map of the next one is not its map."""
    folder = RunFolder(shutil.copytree(run_of_two, tmp_path / "run"))
    of_class(folder.map_path, 1).unlink()
    first, second = read_snapshot(folder).volume.maps
    assert not first.any()
    assert np.array_equal(second, read_map(of_class(folder.map_path, 2))[0])


def test_particles_of_classes_are_exported_and_inferred(classed: Settings, tmp_path: Path) -> None:
    with made_small():
        list(Reconstruction(classed, tmp_path / "run").run())
        folder, out = RunFolder(tmp_path / "run"), tmp_path / "second.star"
        classes = column(folder.star_path, CLASS).astype(int)
        export_poses(folder, out, classes=[2])
        assert (column(out, CLASS) == 2).all()
        assert read_table(out).n_particles == int((classes == 2).sum())
        with pytest.raises(InputError, match="classes 1 to 2"):
            export_poses(folder, tmp_path / "third.star", classes=[3])
        assert classed.data.stack is not None
        infer(folder, classed.data.stack, tmp_path / "inferred.star")
    assert set(column(tmp_path / "inferred.star", CLASS)) <= {1, 2}


def test_an_empty_class_keeps_the_number_of_the_others(classed: Settings, tmp_path: Path) -> None:
    classed.model.classes = 3
    with made_small():
        for event in Reconstruction(classed, tmp_path / "run").run():
            assert not isinstance(event, events.Failed)
        folder = RunFolder(tmp_path / "run")
        training = training_of(folder)
    # as where it empties after a stop that wrote results
    training.poses.classes[training.poses.classes == 1] = 2
    list(write_results(folder, training, None))
    maps = maps_of_classes(folder.map_path)
    assert [each.name for each in maps] == [f"map_class{n}.mrc" for n in (1, 2, 3)]
    left = map_of_grid(training.problem.grids[1]).numpy()
    assert np.array_equal(read_map(maps[1])[0], left)
    for path in folder.half_map_paths:
        assert not of_class(path, 2).exists() and of_class(path, 3).exists()


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("halves", [False, True])
def test_it_is_resumed_on_its_trajectory(
    classed: Settings, tmp_path: Path, after: int, halves: bool
) -> None:
    classed.model.halves = halves
    with made_small():
        list(Reconstruction(classed, tmp_path / "whole").run())
        run = Reconstruction(classed, tmp_path / "parts")
        epochs = 0
        for event in run.run():
            epochs += isinstance(event, events.EpochDone)
            if epochs == after:
                run.controls.stop(results=False)
        list(Reconstruction.resume(tmp_path / "parts").run())
    whole, parts = (RunFolder(tmp_path / name) for name in ("whole", "parts"))
    assert np.array_equal(column(whole.star_path, CLASS), column(parts.star_path, CLASS))
    for number in (1, 2):
        one, other = (read_map(of_class(run.map_path, number))[0] for run in (whole, parts))
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "stages",
    [
        [MarginalStage(epochs=2, batch_size=80, nside=2)],
        [AmortizedStage(epochs=1, batch_size=80), DirectStage(epochs=1, batch_size=80)],
        [AmortizedStage(epochs=1, batch_size=80, volume_update="closed form", guesses=16), DECODED],
    ],
    ids=["marginal", "likelihood", "winners"],
)
def test_every_inference_has_classes(
    classed: Settings, tmp_path: Path, stages: list[object]
) -> None:
    classed.stages = stages
    with made_small():
        stream = list(Reconstruction(classed, tmp_path / "run").run())
    assert isinstance(stream[-1], events.Finished) and stream[-1].results
    classes = column(RunFolder(tmp_path / "run").star_path, CLASS)
    assert set(classes) == {1, 2}


def test_symmetric_classes_are(classed: Settings, tmp_path: Path) -> None:
    classed.model.symmetry = "C2"
    with made_small():
        stream = list(Reconstruction(classed, tmp_path / "run").run())
    assert isinstance(stream[-1], events.Finished)
    for number in (1, 2):
        volume, _ = read_map(of_class(RunFolder(tmp_path / "run").map_path, number))
        inner = volume[1:, 1:, 1:]
        assert np.corrcoef(np.flip(inner, (1, 2)).ravel(), inner.ravel())[0, 1] > 0.99
