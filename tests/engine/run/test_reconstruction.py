from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine import events
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.inference.amortized import AmortizedInference
from napari_cryospin.engine.inference.direct import DirectInference
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import read_poses, recorded_epochs
from napari_cryospin.engine.stages import Inference
from small_searches import made_small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings

TERMINAL = (events.Finished, events.Failed)

Story = tuple["Path", list[events.Event]]


def run(settings: Settings, folder: Path) -> list[events.Event]:
    return list(Reconstruction(settings, folder).run())


def of_type(stream: list[events.Event], kind: type[events.Event]) -> list[events.Event]:
    return [event for event in stream if isinstance(event, kind)]


def steer(
    reconstruction: Reconstruction,
    at: type[events.Event],
    command: Callable[[], None],
    after: int = 1,
) -> list[events.Event]:
    """Run, giving a command when the ``after``-th event of a type has come."""
    stream: list[events.Event] = []
    for event in reconstruction.run():
        stream.append(event)
        if isinstance(event, at) and len(of_type(stream, at)) == after:
            command()
    return stream


def test_a_run_tells_its_story_in_order(finished_story: Story) -> None:
    _, stream = finished_story
    assert isinstance(stream[-1], events.Finished)
    assert sum(isinstance(event, TERMINAL) for event in stream) == 1
    stages = [event.inference for event in of_type(stream, events.EpochDone)]
    assert stages == [Inference.AMORTIZED] * 2 + [Inference.DIRECT] * 2
    (switched,) = of_type(stream, events.Switched)
    assert (switched.epoch, switched.by) == (2, "schedule")
    (started,) = of_type(stream, events.RunStarted)
    assert (started.n_particles, started.box, started.truth_known) == (200, 32, True)
    assert of_type(stream, events.VolumeUpdated)
    poses = of_type(stream, events.PosesUpdated)[-1]
    # a single hypothesis of auto-decoding is the pose itself
    assert poses.candidates.shape == (200, 0, 3, 3)
    assert (poses.winner >= 0).all()


def test_a_run_leaves_a_folder_of_open_formats(settings: Settings, finished_story: Story) -> None:
    folder, stream = RunFolder(finished_story[0]), finished_story[1]
    for name in ("map.mrc", "half1.mrc", "half2.mrc"):
        volume, pixel_size = read_map(folder.path / name)
        assert volume.shape == (32, 32, 32)
        assert pixel_size == pytest.approx(4.0)
    assert len(list((folder.path / "volumes").iterdir())) == 4
    table = read_star(folder.star_path)
    last = of_type(stream, events.PosesUpdated)[-1]
    assert np.allclose(table.rotations, last.rotations, atol=1e-5)
    assert set(table.half_set) == {1, 2}
    metrics = folder.metrics()
    assert [int(row["epoch"]) for row in metrics] == [0, 1, 2, 3]
    assert all(float(row["median_pose_error_deg"]) > 0 for row in metrics)
    assert folder.settings() == settings
    lines = folder.events_path.read_text().splitlines()
    assert '"event": "Finished"' in lines[-1]
    assert folder.fsc_path.read_text().startswith(
        "frequency_per_angstrom,fsc_halves_shared_poses,fsc_truth"
    )
    assert not list(folder.path.rglob("*.writing*"))


def test_seeded_runs_repeat(settings: Settings, finished_run: Path, tmp_path: Path) -> None:
    run(settings, tmp_path / "again")
    maps = [read_map(folder / "map.mrc")[0] for folder in (finished_run, tmp_path / "again")]
    assert np.array_equal(*maps)
    settings.seed += 1
    run(settings, tmp_path / "c")
    assert not np.array_equal(maps[0], read_map(tmp_path / "c" / "map.mrc")[0])


@pytest.mark.parametrize("stopped_at", [2, 14])
def test_a_resumed_run_keeps_its_trajectory(
    settings: Settings, finished_run: Path, tmp_path: Path, stopped_at: int
) -> None:
    interrupted = Reconstruction(settings, tmp_path / "parts")
    stream = steer(interrupted, events.BatchDone, interrupted.controls.stop, stopped_at)
    assert isinstance(stream[-1], events.Finished)
    assert stream[-1].stopped
    assert (tmp_path / "parts" / "map.mrc").exists()
    resumed = list(Reconstruction.resume(tmp_path / "parts").run())
    assert isinstance(resumed[-1], events.Finished)
    folders = finished_run, tmp_path / "parts"
    whole, parts = (read_map(folder / "map.mrc")[0] for folder in folders)
    assert np.array_equal(whole, parts)
    assert len(RunFolder(tmp_path / "parts").metrics()) == 4


def test_nothing_happens_while_paused(unjudged: Settings, tmp_path: Path) -> None:
    controls = Controls()
    seen: list[events.Event] = []

    def consume() -> None:
        for event in Reconstruction(unjudged, tmp_path / "run", controls).run():
            seen.append(event)
            if isinstance(event, events.BatchDone) and len(of_type(seen, events.BatchDone)) == 3:
                controls.pause()

    thread = threading.Thread(target=consume)
    thread.start()
    while not of_type(seen, events.Paused):
        time.sleep(0.01)
    count = len(seen)
    time.sleep(0.3)
    assert len(seen) == count
    controls.resume()
    thread.join(timeout=180)
    assert of_type(seen, events.Resumed)
    assert isinstance(seen[-1], events.Finished)


def test_a_switch_by_hand_ends_the_epoch(unjudged: Settings, tmp_path: Path) -> None:
    unjudged.stages[0].until = "hand"
    reconstruction = Reconstruction(unjudged, tmp_path / "run")
    stream = steer(reconstruction, events.BatchDone, reconstruction.controls.switch, 2)
    (switched,) = of_type(stream, events.Switched)
    assert (switched.epoch, switched.by) == (1, "hand")
    stages = [event.inference for event in of_type(stream, events.EpochDone)]
    assert stages == [Inference.AMORTIZED] + [Inference.DIRECT] * 2


def test_without_a_switch_the_run_stays_in_auto_encoding(
    unjudged: Settings, tmp_path: Path
) -> None:
    unjudged.stages[0].until = "hand"
    stream = run(unjudged, tmp_path / "run")
    assert not of_type(stream, events.Switched)
    assert len(of_type(stream, events.EpochDone)) == 4


def test_the_pose_search_is_part_of_auto_decoding(unjudged: Settings, tmp_path: Path) -> None:
    unjudged.stages[1].searches = 1
    stream = run(unjudged, tmp_path / "run")
    searching = [e for e in of_type(stream, events.Progress) if e.task == "Searching poses"]
    assert searching[-1].done == searching[-1].total > 0


def dropping(n: int, every: int = 4) -> np.ndarray:
    """Return a choice of particles without every fourth."""
    return np.arange(n) % every != 0


def test_dropped_particles_leave_training_at_the_next_epoch(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[torch.Tensor] = []
    for kind in (AmortizedInference, DirectInference):
        train = kind.train_batch

        def watched(self: object, rows: torch.Tensor, train: Callable = train) -> float:
            drawn.append(rows)
            return train(self, rows)

        monkeypatch.setattr(kind, "train_batch", watched)
    # held-out particles are in no batch of the encoder, dropped or not
    settings.held_out = 0.0
    used = dropping(200)
    run = Reconstruction(settings, tmp_path / "run")
    stream = steer(run, events.BatchDone, lambda: run.controls.set_used(used), 2)
    (chosen,) = of_type(stream, events.ParticlesChosen)
    assert chosen.n_used == 150
    batches = of_type(stream, events.BatchDone)
    for epoch in range(4):
        rows = torch.cat(
            [part for part, done in zip(drawn, batches, strict=True) if done.epoch == epoch]
        )
        expected = np.arange(200) if epoch == 0 else np.flatnonzero(used)
        assert np.array_equal(np.sort(rows), expected)
    last = of_type(stream, events.PosesUpdated)[-1]
    assert np.array_equal(last.used, used)


def test_dropped_particles_are_not_in_the_results(unjudged: Settings, tmp_path: Path) -> None:
    # the halves alternate anew: both have particles, whichever were dropped
    used = np.arange(200) % 2 == 0
    run = Reconstruction(unjudged, tmp_path / "run")
    stream = steer(run, events.BatchDone, lambda: run.controls.set_used(used), 2)
    assert isinstance(stream[-1], events.Finished)
    table = read_star(run.folder.star_path)
    assert np.array_equal(table.image_index, np.flatnonzero(used))
    last = of_type(stream, events.PosesUpdated)[-1]
    assert np.allclose(table.rotations, last.rotations[used], atol=1e-5)
    assert set(table.half_set) == {1, 2}
    halves = [read_map(run.folder.path / f"half{number}.mrc")[0] for number in (1, 2)]
    assert all(np.std(half) > 0 for half in halves)


def test_a_choice_is_followed_by_a_run_that_stops_then(unjudged: Settings, tmp_path: Path) -> None:
    run = Reconstruction(unjudged, tmp_path / "run")

    def choose_and_stop() -> None:
        run.controls.set_used(dropping(200))
        run.controls.stop()

    stream = steer(run, events.BatchDone, choose_and_stop)
    assert of_type(stream, events.ParticlesChosen)
    # of those that are left, the ones that the epoch had come to by then
    assert 0 < read_star(run.folder.star_path).n_particles < 150


def drop_and_stop(settings: Settings, folder: Path, stop: int | None) -> None:
    """Run, dropping particles after the second batch, and stopping after another one."""
    run = Reconstruction(settings, folder)
    done = 0
    for event in run.run():
        done += isinstance(event, events.BatchDone)
        if isinstance(event, events.BatchDone) and done == 2:
            run.controls.set_used(dropping(200))
        if isinstance(event, events.BatchDone) and done == stop:
            run.controls.stop()


@pytest.fixture(scope="module")
def run_with_dropped_particles(
    short_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a whole run that dropped particles on its way; read only."""
    folder = tmp_path_factory.mktemp("dropped") / "whole"
    with made_small():
        drop_and_stop(short_settings.model_copy(deep=True), folder, None)
    return folder


@pytest.mark.parametrize("stopped_at", [3, 6, 14])
def test_a_resumed_run_keeps_its_trajectory_with_dropped_particles(
    settings: Settings, run_with_dropped_particles: Path, tmp_path: Path, stopped_at: int
) -> None:
    drop_and_stop(settings, tmp_path / "parts", stopped_at)
    resumed = list(Reconstruction.resume(tmp_path / "parts").run())
    assert isinstance(resumed[-1], events.Finished)
    whole, parts = RunFolder(run_with_dropped_particles), RunFolder(tmp_path / "parts")
    assert np.array_equal(read_map(whole.map_path)[0], read_map(parts.map_path)[0])
    for epoch in recorded_epochs(whole):
        assert whole.poses_path(epoch).read_bytes() == parts.poses_path(epoch).read_bytes()


def test_dropped_particles_can_be_taken_back(unjudged: Settings, tmp_path: Path) -> None:
    run = Reconstruction(unjudged, tmp_path / "run")
    choices = {2: dropping(200), 3: dropping(200), 6: None, 7: np.ones(200, bool)}
    done, chosen = 0, []
    for event in run.run():
        if isinstance(event, events.ParticlesChosen):
            chosen.append(event.n_used)
        if isinstance(event, events.BatchDone):
            done += 1
            if done in choices:
                run.controls.set_used(choices[done])
    # a choice that changes nothing is not told
    assert chosen == [150, 200]
    assert read_star(run.folder.star_path).n_particles == 200


def test_the_latest_choice_of_particles_wins() -> None:
    controls = Controls()
    assert controls.take_used() is None
    mine = dropping(8)
    controls.set_used(None)
    controls.set_used(mine)
    with pytest.raises(ValueError, match="At least 2 particles"):
        controls.set_used(np.arange(8) == 3)
    kept, mine[:] = mine.copy(), False
    assert np.array_equal(controls.take_used(), kept)
    assert controls.take_used() is None


def test_two_particles_are_enough(settings: Settings, tmp_path: Path) -> None:
    settings.stages[1].searches = 1
    run = Reconstruction(settings, tmp_path / "run")
    used = np.arange(200) < 2
    stream = steer(run, events.BatchDone, lambda: run.controls.set_used(used))
    assert isinstance(stream[-1], events.Finished)
    assert read_star(run.folder.star_path).n_particles == 2


def test_the_pose_search_leaves_dropped_particles_alone(unjudged: Settings, tmp_path: Path) -> None:
    unjudged.stages[1].searches = 1
    used = dropping(200)
    run = Reconstruction(unjudged, tmp_path / "run")
    stream = steer(run, events.BatchDone, lambda: run.controls.set_used(used))
    poses = {event.epoch: event for event in of_type(stream, events.PosesUpdated)}
    before, after = poses[1].rotations, poses[3].rotations
    moved = np.abs(before - after).max((1, 2)) > 1e-6
    assert np.array_equal(moved, used)


def test_losses_are_those_of_the_present_poses(finished_story: Story) -> None:
    _, stream = finished_story
    for epoch, done in enumerate(of_type(stream, events.EpochDone)):
        at_end = [e for e in of_type(stream, events.PosesUpdated) if e.epoch == epoch][-1]
        if done.inference is Inference.AMORTIZED:
            assert np.array_equal(at_end.losses, at_end.candidate_losses.min(1))
        # the epoch's figure is a mean over batches, the last of which is smaller
        assert at_end.losses.mean() == pytest.approx(done.loss, rel=0.02)


def test_a_switch_by_hand_still_records_its_epoch(unjudged: Settings, tmp_path: Path) -> None:
    unjudged.stages[0].until = "hand"
    run = Reconstruction(unjudged, tmp_path / "run")
    steer(run, events.BatchDone, run.controls.switch)
    first = read_poses(run.folder, 0)
    assert first.inference is Inference.AMORTIZED
    # the epoch ended before most particles were seen
    assert np.isnan(first.losses[first.winner == -1]).all()
    assert 0 < (first.winner == -1).sum() < 200
    assert read_poses(run.folder, 1).inference is Inference.DIRECT


def test_bad_input_ends_with_one_sentence(settings: Settings, tmp_path: Path) -> None:
    settings.data.stack = tmp_path / "absent.star"
    (failed,) = of_type(run(settings, tmp_path / "run"), events.Failed)
    assert "absent.star" in failed.message
    assert "\n" not in failed.message
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_not_overwritten(settings: Settings, tmp_path: Path) -> None:
    RunFolder(tmp_path).create(settings)
    (failed,) = of_type(run(settings, tmp_path), events.Failed)
    assert "holds a run already" in failed.message
    assert not RunFolder(tmp_path).events_path.exists()


def test_an_unexpected_error_is_told_and_logged(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(
        "napari_cryospin.engine.inference.direct.DirectInference.train_batch", out_of_memory
    )
    stream = run(settings, tmp_path / "run")
    assert isinstance(stream[-1], events.Failed)
    assert "smaller working box" in stream[-1].message
    # what was computed before the switch can be resumed
    assert RunFolder(tmp_path / "run").checkpoints()


def test_an_unknown_device_is_bad_input(settings: Settings, tmp_path: Path) -> None:
    settings.device = "cuda:77"
    (failed,) = of_type(run(settings, tmp_path / "run"), events.Failed)
    assert "cuda:77" in failed.message
