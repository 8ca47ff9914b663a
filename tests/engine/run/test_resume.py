"""A run that was stopped or killed goes on as if nothing had been."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from disturbed import content, count, is_same, kill, searching
from napari_cryospin.engine import events
from napari_cryospin.engine.data.columns import read_blocks
from napari_cryospin.engine.run import loading
from napari_cryospin.engine.run.checkpoint_reading import read_last_checkpoint
from napari_cryospin.engine.run.checkpoint_writing import write_checkpoint
from napari_cryospin.engine.run.controls import Interrupted
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import read_poses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings


@pytest.mark.parametrize("resume", [False, True])
def test_killed_before_the_first_checkpoint_a_run_begins_again(
    two_starts: Settings, whole: RunFolder, tmp_path: Path, resume: bool
) -> None:
    killed = Reconstruction(two_starts, tmp_path / "run")
    kill(killed, count(events.BatchDone, 1))
    assert not killed.folder.checkpoints()
    again = Reconstruction.resume(tmp_path / "run") if resume else killed
    stream = list(Reconstruction(two_starts, tmp_path / "run").run() if not resume else again.run())
    assert isinstance(stream[-1], events.Finished)
    assert is_same(killed.folder, whole)
    assert len(killed.folder.events_path.read_text().splitlines()) > 5


@pytest.mark.parametrize(
    "when",
    [
        # in the first start, in the second, in the search and after it, in the last epoch
        lambda: count(events.BatchDone, 5),
        lambda: count(events.Switched, 2),
        lambda: searching,
        lambda: count(events.BatchDone, 8),
        lambda: count(events.EpochDone, 4),
    ],
)
def test_a_killed_run_comes_to_the_same_end(
    two_starts: Settings, whole: RunFolder, tmp_path: Path, when: Callable
) -> None:
    two_starts.checkpoint_minutes = 1e-9
    killed = Reconstruction(two_starts, tmp_path / "run")
    kill(killed, when())
    resumed = list(Reconstruction.resume(tmp_path / "run").run())
    assert isinstance(resumed[-1], events.Finished), resumed[-1]
    assert is_same(killed.folder, whole)
    lines = killed.folder.events_path.read_text().splitlines()
    assert all(json.loads(line)["event"] for line in lines)


def test_a_checkpoint_is_written_in_the_course_of_an_epoch(
    two_starts: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cryospin.engine.run.loop._CHECKPOINT_SHARE", 0)
    for minutes, expected in ((1e-9, 3), (60.0, 0)):
        two_starts.checkpoint_minutes = minutes
        run = Reconstruction(two_starts, tmp_path / f"{minutes}")
        seen = kill(run, count(events.EpochDone, 1))
        assert sum(isinstance(event, events.CheckpointWritten) for event in seen) >= expected
        if not expected:
            assert not run.folder.checkpoints()


def test_a_checkpoint_comes_before_a_search(two_starts: Settings, tmp_path: Path) -> None:
    run = Reconstruction(two_starts, tmp_path / "run")
    kill(run, searching)
    state = read_last_checkpoint(run.folder, torch.device("cpu"))
    assert state["clock"]["stage"] == 1


def test_stopped_in_a_search_a_run_keeps_its_trajectory(
    two_starts: Settings, whole: RunFolder, tmp_path: Path
) -> None:
    run = Reconstruction(two_starts, tmp_path / "run")
    for event in run.run():
        if searching(event):
            run.controls.stop()
    assert isinstance(event, events.Finished) and event.stopped
    list(Reconstruction.resume(tmp_path / "run").run())
    assert is_same(run.folder, whole)


def test_a_choice_in_a_search_waits_for_the_next_epoch_also_after_a_resume(
    two_starts: Settings, tmp_path: Path
) -> None:
    def chosen(name: str, stop: bool) -> RunFolder:
        run = Reconstruction(two_starts, tmp_path / name)
        for event in run.run():
            if searching(event):
                run.controls.set_used(np.arange(160) % 4 > 0)
            if stop and isinstance(event, events.ParticlesChosen):
                run.controls.stop()
        return run.folder

    undisturbed, stopped = chosen("whole", False), chosen("parts", True)
    list(Reconstruction.resume(stopped.path).run())
    assert is_same(stopped, undisturbed)


def test_killed_while_results_are_written_they_are_written_again(
    two_starts: Settings, whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    # the end is in the log only when everything is there
    lines = run.events_path.read_text().splitlines(keepends=True)
    run.events_path.write_text("".join(lines[:-1]))
    for name in ("verdict.json", "half2.mrc"):
        (run.path / name).unlink()
    *_, last = Reconstruction.resume(run.path).run()
    assert isinstance(last, events.Finished) and not last.before
    assert is_same(run, whole)


def test_a_finished_run_has_nothing_left_to_do(finished: RunFolder) -> None:
    before = content(finished)
    stream = list(Reconstruction.resume(finished.path).run())
    last = stream[-1]
    assert isinstance(last, events.Finished) and last.before
    assert last.verdict == finished.verdict()
    assert any(isinstance(event, events.PosesUpdated) for event in stream)
    assert content(finished) == before


def test_a_finished_run_tells_how_the_map_fits_its_particles(finished: RunFolder) -> None:
    """In its folder, in its records and in its star file it is the same."""
    poses, recorded = read_snapshot(finished).poses, read_poses(finished, 3)
    particles = read_blocks(finished.star_path)["particles"].frame
    for name, column in (
        ("scales", "cryospinScale"),
        ("log_likelihood", "cryospinLogLikelihood"),
        ("explained", "cryospinExplained"),
    ):
        values = getattr(poses, name)
        assert np.isfinite(values).mean() > 0.9 and np.isfinite(values).any(), name
        assert np.array_equal(values, getattr(recorded, name), equal_nan=True), name
        written = particles[column].to_numpy(dtype=object).astype(float)
        assert np.allclose(written, values[poses.used], atol=1e-3, equal_nan=True), name
    assert np.median(poses.log_likelihood) > 0


def test_a_checkpoint_of_an_earlier_version_does_not_tell_the_fit(finished: RunFolder) -> None:
    state = read_last_checkpoint(finished, torch.device("cpu"))
    del state["fit"]
    write_checkpoint(finished, state, 4)
    poses = read_snapshot(finished).poses
    assert np.isnan(poses.log_likelihood).all() and np.isnan(poses.explained).all()
    state["fit"] = {"log_likelihood": torch.zeros(3), "explained": torch.zeros(160)}
    write_checkpoint(finished, state, 4)
    assert any("fit" in note for note in read_snapshot(finished).notes)


def test_a_checkpoint_of_an_earlier_version_names_the_winner_otherwise(
    finished: RunFolder,
) -> None:
    path = finished.checkpoints()[-1]
    state = torch.load(path, weights_only=True)
    before = state["poses"].pop("winner")
    state["poses"]["winning_head"] = before
    write_checkpoint(finished, state, 4)
    read = read_last_checkpoint(finished, torch.device("cpu"))
    assert torch.equal(read["poses"]["winner"], before)
    assert np.array_equal(read_snapshot(finished).poses.winner, before.numpy())


def test_a_finished_run_goes_on_with_more_epochs(finished: RunFolder) -> None:
    settings = finished.settings()
    settings.stages[-1].epochs += 1
    finished.write_settings(settings)
    *_, last = Reconstruction.resume(finished.path).run()
    assert isinstance(last, events.Finished) and not last.before
    assert len(finished.metrics()) == 5


def test_a_stop_while_particles_are_read_leaves_nothing(
    two_starts: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> None:
        time.sleep(60)

    monkeypatch.setattr(loading, "prepare", slow)
    run = Reconstruction(two_starts, tmp_path / "run")
    run.controls.stop()
    (last,) = run.run()
    assert isinstance(last, events.Finished)
    assert (last.stopped, last.kept, last.results) == (True, False, False)
    assert "nothing was written" in last.sentence()
    assert not (tmp_path / "run").exists()


def test_a_stop_in_a_hurry_writes_a_checkpoint_alone(
    two_starts: Settings, whole: RunFolder, tmp_path: Path
) -> None:
    run = Reconstruction(two_starts, tmp_path / "run")
    for event in run.run():
        if isinstance(event, events.BatchDone) and event.batch == 2:
            run.controls.stop(results=False)
    assert isinstance(event, events.Finished)
    assert (event.kept, event.results) == (True, False)
    assert "can be resumed" in event.sentence()
    assert not run.folder.map_path.exists()
    assert read_last_checkpoint(run.folder, torch.device("cpu"))["clock"]["batch"] == 2
    list(Reconstruction.resume(run.folder.path).run())
    assert is_same(run.folder, whole)


@pytest.mark.parametrize("where", ["judge", "pose_confidence"])
def test_a_judgement_may_be_interrupted(
    two_starts: Settings,
    whole: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    run = Reconstruction(two_starts, tmp_path / "run")

    def interrupted(*_: object) -> None:
        run.controls.stop(results=False)
        assert run.controls.interruptible
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(Training, where, interrupted)
        *_, last = run.run()
    assert isinstance(last, events.Finished)
    assert (last.stopped, last.results) == (True, False)
    assert not run.controls.interruptible
    list(Reconstruction.resume(run.folder.path).run())
    assert is_same(run.folder, whole)


def test_more_threads_than_cores_are_not_used(finished: RunFolder) -> None:
    before = torch.get_num_threads()
    try:
        changes = {"threads": 100_000}
        started = next(
            event
            for event in Reconstruction.resume(finished.path, changes=changes).run()
            if isinstance(event, events.RunStarted)
        )
        assert torch.get_num_threads() < 10_000
    finally:
        torch.set_num_threads(before)
    assert any(note.startswith("100000 threads were asked for") for note in started.notes)


def test_half_a_line_is_cut_off(finished: RunFolder) -> None:
    whole_lines = finished.events_path.read_text()
    finished.events_path.write_text(whole_lines + '{"event": "Ba')
    assert finished.last_event() is None
    finished.append_event(events.Paused())
    assert finished.events_path.read_text() == whole_lines + '{"event": "Paused"}\n'
    assert finished.last_event() == {"event": "Paused"}


def test_maps_of_epochs_that_are_done_again_go(finished: RunFolder) -> None:
    volume = np.zeros((4, 4, 4), np.float32)
    finished.write_epoch_maps(1, [volume], 1.0)
    names = sorted(path.name for path in (finished.path / "volumes").iterdir())
    assert names == ["epoch_0000.mrc", "epoch_0001.mrc"]
