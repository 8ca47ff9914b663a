"""What was done by hand is written down, and done again: bit by bit the same run."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from disturbed import count, is_same, kill, searching, shortest
from napari_cryospin.engine import events
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.runfolder.commands import Command
from small_searches import made_small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.settings import Settings

N = 160
Story = tuple["RunFolder", list[events.Event]]


def long_starts(stack: Path) -> Settings:
    """Return settings of a run whose starts can be ended by hand: 3 batches an epoch."""
    settings = shortest(stack / "particles.star")
    settings.stages[0].epochs = 2
    settings.stages[1].epochs = 1
    return settings


@pytest.fixture
def settings(small_stack: Path) -> Settings:
    """Return the same without held-out particles: judging takes most of the time."""
    settings = long_starts(small_stack)
    settings.held_out = 0.0
    return settings


def without(every: int) -> np.ndarray:
    return np.arange(N) % every > 0


def steer(run: Reconstruction, *steps: tuple[Callable, Callable[[], None]]) -> list[events.Event]:
    """Run to the end; each step is done at the first event that its condition holds for."""
    left, seen = list(steps), []
    for event in run.run():
        seen.append(event)
        if left and left[0][0](event):
            left.pop(0)[1]()
    assert not left, "not every step was done"
    return seen


def by_hand(run: Reconstruction) -> list[tuple[Callable, Callable[[], None]]]:
    """Return steps that end both starts early, and choose particles in between and in a search."""
    controls = run.controls
    return [
        (count(events.BatchDone, 1), lambda: controls.set_used(without(4))),
        (count(events.BatchDone, 1), controls.switch),
        (count(events.BatchDone, 4), controls.switch),
        (searching, lambda: controls.set_used(without(5))),
    ]


@pytest.fixture(scope="module")
def steered(small_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Return a steered run, read only, and what it told."""
    run = Reconstruction(long_starts(small_stack), tmp_path_factory.mktemp("steered") / "run")
    with made_small():
        seen = steer(run, *by_hand(run))
    assert isinstance(seen[-1], events.Finished), seen[-1]
    return run.folder, seen


def again(folder: RunFolder, path: Path) -> tuple[RunFolder, list[events.Event]]:
    """Repeat a run with its own settings and commands."""
    run = Reconstruction(folder.settings(), path, commands=folder.commands())
    return run.folder, list(run.run())


def kinds(folder: RunFolder) -> list[str]:
    return [command.command for command in folder.commands()]


def told(seen: list[events.Event], kind: type[events.Event]) -> list[events.Event]:
    return [event for event in seen if isinstance(event, kind)]


def test_a_steered_run_is_repeated(steered: Story, tmp_path: Path) -> None:
    run, seen = steered
    repeated, same = again(run, tmp_path / "again")
    assert is_same(repeated, run)
    assert told(same, events.Switched) == told(seen, events.Switched)
    assert told(same, events.ParticlesChosen) == told(seen, events.ParticlesChosen)
    assert not told(same, events.CommandMissed)
    (started,) = told(same, events.RunStarted)
    assert "Commands that were given by hand are repeated: 4 to come." in started.notes
    # and so is the repetition
    assert repeated.commands_path.read_text() == run.commands_path.read_text()


def test_what_was_done_is_written_for_people(steered: Story) -> None:
    run, seen = steered
    lines = [json.loads(line) for line in run.commands_path.read_text().splitlines()]
    assert [(line["command"], line["epoch"], line.get("batch")) for line in lines] == [
        ("particles", 1, 1),
        ("switch", 1, 2),
        ("switch", 3, 1),
        ("particles", 4, None),
    ]
    assert lines[0]["used"].startswith("2-4,6-8,10-12,") and lines[0]["particles"] == N
    assert lines[1] | {"batches": 3, "stage": 1, "start": 1} == lines[1]
    assert lines[2]["start"] == 2 and lines[3]["searching"]
    first, second = told(seen, events.Switched)
    assert (first.by, first.batch, first.n_batches) == ("hand", 2, 3)
    assert first.sentence() == (
        "Start 2 of marginalisation begins by hand after batch 2 of 3 of epoch 1, from another "
        "random map."
    )
    sentence = "Stage 2, auto-decoding, begins by hand after batch 1 of 3 of epoch 3."
    assert second.sentence() == sentence
    logged = [json.loads(line) for line in run.events_path.read_text().splitlines()]
    switches = [line for line in logged if line["event"] == "Switched"]
    assert [(line["by"], line["batch"], line["n_batches"]) for line in switches] == [
        ("hand", 2, 3),
        ("hand", 1, 3),
    ]
    # the epochs that were ended early say so
    rows = [(row["epoch"], row["batches"], row["of_batches"]) for row in run.metrics()]
    assert rows == [("0", "2", "3"), ("1", "3", "3"), ("2", "1", "3"), ("3", "2", "2")]


def test_a_run_that_nobody_steers_has_no_commands(whole: RunFolder) -> None:
    assert not whole.commands_path.exists()
    assert whole.commands() == []


@pytest.mark.parametrize(
    "when",
    [
        lambda: count(events.BatchDone, 4),
        lambda: count(events.EpochDone, 2),
        lambda: searching,
    ],
    ids=["in an epoch", "before the next start", "in a search"],
)
def test_a_stop_is_repeated_where_it_was(
    settings: Settings, tmp_path: Path, when: Callable
) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    seen = steer(run, (when(), run.controls.stop))
    repeated, same = again(run.folder, tmp_path / "again")
    assert is_same(repeated, run.folder)
    assert len(told(same, events.BatchDone)) == len(told(seen, events.BatchDone))
    assert kinds(run.folder) == kinds(repeated) == ["stop"]


def test_a_run_that_goes_on_after_a_stop_has_none(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    steer(
        run,
        (count(events.BatchDone, 1), lambda: run.controls.set_used(without(4))),
        (count(events.BatchDone, 1), run.controls.stop),
    )
    assert kinds(run.folder) == ["particles", "stop"]
    list(Reconstruction.resume(run.folder.path).run())
    assert kinds(run.folder) == ["particles"]
    assert is_same(again(run.folder, tmp_path / "again")[0], run.folder)


@pytest.fixture(scope="module")
def switched(small_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run of which nobody was held out, that dropped particles and was switched."""
    settings = long_starts(small_stack)
    settings.held_out = 0.0
    run = Reconstruction(settings, tmp_path_factory.mktemp("switched") / "run")
    with made_small():
        steer(run, *by_hand(run)[:2])
    return run.folder


@pytest.mark.parametrize(
    "when",
    [
        lambda: count(events.EpochDone, 1),
        lambda: count(events.Switched, 1),
        lambda: count(events.BatchDone, 3),
    ],
    ids=["before a checkpoint", "before the next start", "in the next start"],
)
def test_killed_a_steered_run_comes_to_the_same_end(
    settings: Settings, switched: RunFolder, tmp_path: Path, when: Callable
) -> None:
    killed = Reconstruction(settings, tmp_path / "killed")
    steps, over = by_hand(killed)[:2], when()

    def dead(event: events.Event) -> bool:
        if steps and steps[0][0](event):
            steps.pop(0)[1]()
        return over(event)

    kill(killed, dead)
    *_, last = Reconstruction.resume(killed.folder.path).run()
    assert isinstance(last, events.Finished), last
    assert is_same(killed.folder, switched)
    assert killed.folder.commands() == switched.commands()


def test_a_choice_as_the_last_map_is_judged_has_no_part_in_that(
    small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = long_starts(small_stack)
    settings.stages, settings.stages[0].epochs = settings.stages[:1], 1
    run = Reconstruction(settings, tmp_path / "run")
    judge = Training.judge_start

    def judged(training: Training) -> None:
        judge(training)
        if training.clock.start == 1:
            run.controls.set_used(without(4))

    with monkeypatch.context() as patched:
        patched.setattr(Training, "judge_start", judged)
        list(run.run())
    assert kinds(run.folder) == ["particles"]
    assert is_same(again(run.folder, tmp_path / "again")[0], run.folder)
    # with more epochs, they are without those particles from the first on
    settings.stages[0].epochs = 2
    run.folder.write_settings(settings)
    seen = list(Reconstruction.resume(run.folder.path).run())
    assert isinstance(seen[-1], events.Finished) and told(seen, events.EpochDone)
    assert not told(seen, events.CommandMissed) and kinds(run.folder) == ["particles"]


def test_who_steers_a_repetition_takes_it_over(settings: Settings, tmp_path: Path) -> None:
    """A stop leaves what is to come, and a command by hand drops it."""
    commands = [
        Command(command="switch", epoch=1, stage=1, start=1, batch=2, batches=3),
        Command(command="switch", epoch=2, stage=1, start=2, batch=1, batches=3),
    ]
    run = Reconstruction(settings, tmp_path / "run", commands=commands)
    steer(run, (count(events.BatchDone, 1), run.controls.stop))
    assert kinds(run.folder) == ["stop", "switch", "switch"]
    resumed = Reconstruction.resume(run.folder.path)
    stop = resumed.controls.stop
    seen = steer(
        resumed,
        (count(events.Switched, 1), lambda: resumed.controls.set_used(without(4))),
        (count(events.EpochDone, 1), lambda: stop(results=False)),
    )
    assert kinds(run.folder) == ["switch", "particles"]
    assert [event.batches for event in told(seen, events.EpochDone)] == [2, 3]


def test_a_moment_that_does_not_come_is_told(settings: Settings, tmp_path: Path) -> None:
    commands = [Command(command="switch", epoch=1, stage=1, start=1, batch=7, batches=9)]
    run = Reconstruction(settings, tmp_path / "run", commands=commands)
    seen = steer(run, (count(events.EpochDone, 1), lambda: run.controls.stop(results=False)))
    (missed,) = told(seen, events.CommandMissed)
    assert missed.sentence() == (
        "The switch after batch 7 of epoch 1, in stage 1, was not repeated: this run has other "
        "stages or batches."
    )
    assert not run.folder.commands_path.exists()


def test_a_choice_among_other_particles_is_refused(settings: Settings, tmp_path: Path) -> None:
    commands = [Command(command="particles", epoch=1, stage=1, start=1, used="1-90", particles=100)]
    *_, failed = Reconstruction(settings, tmp_path / "run", commands=commands).run()
    assert isinstance(failed, events.Failed) and failed.bad_input
    assert "choose among 100 particles, and the run has 160" in failed.message
    assert not (tmp_path / "run").exists()


def test_a_damaged_record_is_told_before_a_run_goes_on(finished: RunFolder) -> None:
    finished.commands_path.write_bytes(bytes(range(256)))
    *_, failed = Reconstruction.resume(finished.path).run()
    assert isinstance(failed, events.Failed) and failed.bad_input
    assert "commands.jsonl: line 1 is no command" in failed.message


def test_a_pause_is_no_part_of_an_epochs_seconds(short_settings: Settings, tmp_path: Path) -> None:
    controls, began, paused = Controls(), 0.0, False
    for event in Reconstruction(short_settings.model_copy(deep=True), tmp_path, controls).run():
        if isinstance(event, events.EpochStarted):
            began = time.monotonic()
        if isinstance(event, events.BatchDone) and not paused:
            paused = True
            controls.pause()
            threading.Timer(1.0, controls.resume).start()
        if isinstance(event, events.EpochDone):
            assert event.seconds < time.monotonic() - began - 0.9
            controls.stop(keep=False)
            break
