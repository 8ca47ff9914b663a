"""A run that was stopped or killed goes on as if nothing had been, or says why it does not."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.run import events, reconstruction
from napari_cryospin.engine.run.controls import Interrupted
from napari_cryospin.engine.run.folder import RunFolder
from napari_cryospin.engine.run.lock import LOCK_NAME, Owner, RunLock
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import DirectStage, MarginalStage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cryospin.engine.run.events import Event


def shortest(stack: Path) -> Settings:
    """Return settings of a run of a second: two starts, then auto-decoding after a search."""
    settings = Settings.from_preset("default")
    settings.threads, settings.starts = 1, 2
    settings.data.stack, settings.data.box = stack, 32
    settings.data.max_particles = 160
    settings.stages = [
        MarginalStage(nside=2, epochs=1, until="epochs", batch_size=40),
        DirectStage(
            epochs=2,
            batch_size=80,
            pose_steps=2,
            volume_update="closed form",
            hypotheses=2,
            searches=1,
        ),
    ]
    return settings


@pytest.fixture
def settings(small_stack: Path) -> Settings:
    return shortest(small_stack / "particles.star")


@pytest.fixture(scope="module")
def whole(small_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    *_, last = Reconstruction(shortest(small_stack / "particles.star"), folder).run()
    assert isinstance(last, events.Finished)
    return RunFolder(folder)


@pytest.fixture
def finished(whole: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of that run."""
    shutil.copytree(whole.path, tmp_path / "finished")
    return RunFolder(tmp_path / "finished")


def kill(run: Reconstruction, when: Callable[[Event], bool]) -> list[Event]:
    """Let a run go no further than an event, and leave its folder as a killed process does."""
    seen: list[Event] = []
    stream = run.run()
    for event in stream:
        seen.append(event)
        if when(event):
            break
    else:
        raise AssertionError(f"the run came to its end: {seen[-1]}")
    stream.close()
    if run.folder.path.is_dir():
        dead = replace(Owner.present(), started="1")
        (run.folder.path / LOCK_NAME).write_text(json.dumps(asdict(dead)))
        (run.folder.path / ".map.0123456789abcdef.writing.mrc").write_text("half")
    if run.folder.events_path.exists():
        with run.folder.events_path.open("a") as file:
            file.write('{"event": "Batch')
    return seen


def is_same(run: RunFolder, whole: RunFolder) -> bool:
    """Return whether two runs have the same maps, poses and figures, bit by bit."""
    maps = [name for name in listed(whole) if name.endswith(".mrc")]
    poses = [name for name in listed(whole) if name.endswith(".npy")]
    return (
        listed(run) == listed(whole)
        and all(np.array_equal(read(run, name), read(whole, name)) for name in maps)
        and all((run.path / n).read_bytes() == (whole.path / n).read_bytes() for n in poses)
        and figures(run) == figures(whole)
        and run.verdict() == whole.verdict()
    )


def read(run: RunFolder, name: str) -> np.ndarray:
    return read_map(run.path / name)[0]


def listed(run: RunFolder) -> list[str]:
    return sorted(str(path.relative_to(run.path)) for path in run.path.rglob("*"))


def figures(run: RunFolder) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.metrics()]


def content(run: RunFolder) -> dict[str, bytes]:
    return {name: (run.path / name).read_bytes() for name in listed(run) if "." in name}


def count(kind: type[Event], number: int) -> Callable[[Event], bool]:
    """Return what is true of the so-many-th event of a kind."""
    left = [number]

    def here(event: Event) -> bool:
        left[0] -= isinstance(event, kind)
        return left[0] == 0 and isinstance(event, kind)

    return here


def searching(event: Event) -> bool:
    return isinstance(event, events.Progress) and event.task == "Searching poses" and event.done > 0


@pytest.mark.parametrize("resume", [False, True])
def test_killed_before_the_first_checkpoint_a_run_begins_again(
    settings: Settings, whole: RunFolder, tmp_path: Path, resume: bool
) -> None:
    killed = Reconstruction(settings, tmp_path / "run")
    kill(killed, count(events.BatchDone, 1))
    assert not killed.folder.checkpoints()
    again = Reconstruction.resume(tmp_path / "run") if resume else killed
    stream = list(Reconstruction(settings, tmp_path / "run").run() if not resume else again.run())
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
    settings: Settings, whole: RunFolder, tmp_path: Path, when: Callable
) -> None:
    settings.checkpoint_minutes = 1e-9
    killed = Reconstruction(settings, tmp_path / "run")
    kill(killed, when())
    resumed = list(Reconstruction.resume(tmp_path / "run").run())
    assert isinstance(resumed[-1], events.Finished), resumed[-1]
    assert is_same(killed.folder, whole)
    lines = killed.folder.events_path.read_text().splitlines()
    assert all(json.loads(line)["event"] for line in lines)


def test_a_checkpoint_is_written_in_the_course_of_an_epoch(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cryospin.engine.run.loop._CHECKPOINT_SHARE", 0)
    for minutes, expected in ((1e-9, 3), (60.0, 0)):
        settings.checkpoint_minutes = minutes
        run = Reconstruction(settings, tmp_path / f"{minutes}")
        seen = kill(run, count(events.EpochDone, 1))
        assert sum(isinstance(event, events.CheckpointWritten) for event in seen) >= expected
        if not expected:
            assert not run.folder.checkpoints()


def test_a_checkpoint_comes_before_a_search(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    kill(run, searching)
    state = run.folder.read_checkpoint(torch.device("cpu"))
    assert state["clock"]["stage"] == 1


def test_stopped_in_a_search_a_run_keeps_its_trajectory(
    settings: Settings, whole: RunFolder, tmp_path: Path
) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    for event in run.run():
        if searching(event):
            run.controls.stop()
    assert isinstance(event, events.Finished) and event.stopped
    list(Reconstruction.resume(tmp_path / "run").run())
    assert is_same(run.folder, whole)


def test_a_choice_in_a_search_waits_for_the_next_epoch_also_after_a_resume(
    settings: Settings, tmp_path: Path
) -> None:
    def chosen(name: str, stop: bool) -> RunFolder:
        run = Reconstruction(settings, tmp_path / name)
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
    settings: Settings, whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_a_finished_run_goes_on_with_more_epochs(finished: RunFolder) -> None:
    settings = finished.settings()
    settings.stages[-1].epochs += 1
    finished.write_settings(settings)
    *_, last = Reconstruction.resume(finished.path).run()
    assert isinstance(last, events.Finished) and not last.before
    assert len(finished.metrics()) == 5


def refused(run: Reconstruction) -> str:
    """Return the sentence of a run that may not be; its folder must stay as it is."""
    before = content(run.folder)
    (*_, failed) = run.run()
    assert isinstance(failed, events.Failed)
    assert failed.bad_input
    assert "\n" not in failed.message
    assert content(run.folder) == before
    return failed.message


def test_a_second_writer_is_refused_and_readers_are_welcome(
    settings: Settings, tmp_path: Path
) -> None:
    first = Reconstruction(settings, tmp_path / "run")
    stream = first.run()
    seen = next(event for event in stream if isinstance(event, events.CheckpointWritten))
    assert seen.path.exists()
    for second in (
        Reconstruction.resume(tmp_path / "run"),
        Reconstruction(settings, tmp_path / "run"),
    ):
        assert "is being written by process" in refused(second)
    assert read_snapshot(first.folder).history
    first.controls.stop()
    *_, last = stream
    assert isinstance(last, events.Finished)
    assert not (tmp_path / "run" / LOCK_NAME).exists()


def test_a_run_that_was_taken_over_ends(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    stream = run.run()
    next(event for event in stream if isinstance(event, events.BatchDone))
    (tmp_path / "run" / LOCK_NAME).unlink()
    other = RunLock.acquire(tmp_path / "run")
    *_, last = stream
    assert isinstance(last, events.Failed)
    assert "taken over by process" in last.message
    assert not run.folder.checkpoints()
    other.release()


def other_table(whole: RunFolder, folder: Path, rows: np.ndarray) -> Path:
    table = read_star(whole.settings().data.stack)
    folder.mkdir()
    write_star(folder / "particles.star", table, rows, rotations=None, shifts=None)
    return folder / "particles.star"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (np.arange(160)[::-1], "in another order"),
        (np.arange(120), "there were 160 particles, and now there are 120"),
        (np.arange(40, 200), "images are not the same"),
    ],
)
def test_other_particles_are_refused(
    finished: RunFolder, whole: RunFolder, tmp_path: Path, rows: np.ndarray, told: str
) -> None:
    other = other_table(whole, tmp_path / "other", rows)
    run = Reconstruction.resume(finished.path, changes={"data.stack": other})
    assert told in refused(run)


def test_moved_particles_are_taken(finished: RunFolder, small_stack: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("particles.star", "particles.mrcs"):
        shutil.copy(small_stack / name, moved / name)
    changes = {"data.stack": moved / "particles.star"}
    *_, last = Reconstruction.resume(finished.path, changes=changes).run()
    assert isinstance(last, events.Finished)
    assert finished.settings().data.stack == moved / "particles.star"


def test_a_changed_setting_is_refused(finished: RunFolder) -> None:
    settings = finished.settings()
    settings.data.box = 48
    finished.write_settings(settings)
    sentence = refused(Reconstruction.resume(finished.path))
    assert "'data.box' was 32 when the run began and is 48 now" in sentence


def test_particles_in_the_place_of_results_are_refused(
    finished: RunFolder, small_stack: Path
) -> None:
    shutil.copy(small_stack / "particles.mrcs", finished.path)
    shutil.copy(small_stack / "particles.star", finished.path)
    changes = {"data.stack": finished.star_path}
    run = Reconstruction.resume(finished.path, changes=changes)
    assert "is read by the run and would be replaced" in refused(run)


def test_a_run_beside_the_particles_replaces_none(
    settings: Settings, small_stack: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(small_stack, own)
    settings.data.stack = own / "particles.star"
    sentence = refused(Reconstruction(settings, own))
    assert "particles.star is there already and would be replaced" in sentence


def test_a_stop_while_particles_are_read_leaves_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> None:
        time.sleep(60)

    monkeypatch.setattr(reconstruction, "prepare", slow)
    run = Reconstruction(settings, tmp_path / "run")
    run.controls.stop()
    (last,) = run.run()
    assert isinstance(last, events.Finished)
    assert (last.stopped, last.kept, last.results) == (True, False, False)
    assert "nothing was written" in last.sentence()
    assert not (tmp_path / "run").exists()


def test_a_stop_in_a_hurry_writes_a_checkpoint_alone(
    settings: Settings, whole: RunFolder, tmp_path: Path
) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    for event in run.run():
        if isinstance(event, events.BatchDone) and event.batch == 2:
            run.controls.stop(results=False)
    assert isinstance(event, events.Finished)
    assert (event.kept, event.results) == (True, False)
    assert "can be resumed" in event.sentence()
    assert not run.folder.map_path.exists()
    assert run.folder.read_checkpoint(torch.device("cpu"))["clock"]["batch"] == 2
    list(Reconstruction.resume(run.folder.path).run())
    assert is_same(run.folder, whole)


@pytest.mark.parametrize("where", ["judge", "pose_confidence"])
def test_a_judgement_may_be_interrupted(
    settings: Settings,
    whole: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    run = Reconstruction(settings, tmp_path / "run")

    def interrupted(_: Training) -> None:
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
    finished.write_epoch_map(1, volume, 1.0)
    names = sorted(path.name for path in (finished.path / "volumes").iterdir())
    assert names == ["epoch_0000.mrc", "epoch_0001.mrc"]
