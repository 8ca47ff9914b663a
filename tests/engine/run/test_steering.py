"""What was done by hand is written down, and done again: bit by bit the same run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from disturbed import count, is_same, kill, searching
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run import events
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.steering import Command, Moment, ranges, read_commands

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cryospin.engine.run.folder import RunFolder
    from napari_cryospin.engine.settings import Settings

N = 160
When = "Callable[[events.Event], bool]"


@pytest.fixture
def long_starts(two_starts: Settings) -> Settings:
    """Settings of a run whose starts are long enough to be ended by hand: 3 batches an epoch."""
    two_starts.stages[0].epochs = 2
    two_starts.stages[1].epochs = 1
    return two_starts


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


def steered(settings: Settings, path: Path) -> tuple[RunFolder, list[events.Event]]:
    run = Reconstruction(settings, path)
    seen = steer(run, *by_hand(run))
    assert isinstance(seen[-1], events.Finished), seen[-1]
    return run.folder, seen


def again(folder: RunFolder, path: Path) -> tuple[RunFolder, list[events.Event]]:
    """Repeat a run with its own settings and commands."""
    run = Reconstruction(folder.settings(), path, commands=folder.commands())
    return run.folder, list(run.run())


def told(seen: list[events.Event], kind: type[events.Event]) -> list[events.Event]:
    return [event for event in seen if isinstance(event, kind)]


def test_a_steered_run_is_repeated(long_starts: Settings, tmp_path: Path) -> None:
    run, seen = steered(long_starts, tmp_path / "run")
    repeated, same = again(run, tmp_path / "again")
    assert is_same(repeated, run)
    assert told(same, events.Switched) == told(seen, events.Switched)
    assert told(same, events.ParticlesChosen) == told(seen, events.ParticlesChosen)
    assert not told(same, events.CommandMissed)
    (started,) = told(same, events.RunStarted)
    assert "Commands that were given by hand are repeated: 4 to come." in started.notes
    # and so is the repetition
    assert repeated.commands_path.read_text() == run.commands_path.read_text()
    # without the commands it is another run
    other = Reconstruction(run.settings(), tmp_path / "other")
    list(other.run())
    assert not is_same(other.folder, run)


def test_what_was_done_is_written_for_people(long_starts: Settings, tmp_path: Path) -> None:
    run, seen = steered(long_starts, tmp_path / "run")
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
        count(events.BatchDone, 5),
        count(events.EpochDone, 1),
        searching,
        count(events.EpochDone, 5),
    ],
    ids=["in an epoch", "after an epoch", "in a search", "at the end"],
)
def test_a_stop_is_repeated_where_it_was(
    long_starts: Settings, tmp_path: Path, when: Callable
) -> None:
    run = Reconstruction(long_starts, tmp_path / "run")
    seen = steer(run, (when, run.controls.stop))
    repeated, same = again(run.folder, tmp_path / "again")
    assert is_same(repeated, run.folder)
    assert len(told(same, events.BatchDone)) == len(told(seen, events.BatchDone))
    ended = run.folder.commands()
    assert [command.command for command in ended] == (["stop"] if len(ended) else [])


def test_a_run_that_goes_on_after_a_stop_has_none(
    long_starts: Settings, tmp_path: Path
) -> None:
    run = Reconstruction(long_starts, tmp_path / "run")
    steer(
        run,
        (count(events.BatchDone, 1), lambda: run.controls.set_used(without(4))),
        (count(events.BatchDone, 1), run.controls.stop),
    )
    assert [command.command for command in run.folder.commands()] == ["particles", "stop"]
    list(Reconstruction.resume(run.folder.path).run())
    assert [command.command for command in run.folder.commands()] == ["particles"]
    assert is_same(again(run.folder, tmp_path / "again")[0], run.folder)


@pytest.mark.parametrize(
    ("when", "minutes"),
    [
        # before the first checkpoint; with a switch, and a choice, that no checkpoint holds yet
        (lambda: count(events.BatchDone, 2), 60.0),
        (lambda: count(events.Switched, 1), 60.0),
        (lambda: count(events.EpochDone, 3), 60.0),
        (lambda: count(events.Switched, 2), 1e-9),
        (lambda: count(events.ParticlesChosen, 2), 60.0),
        (lambda: count(events.BatchDone, 8), 1e-9),
    ],
)
def test_killed_a_steered_run_comes_to_the_same_end(
    long_starts: Settings, tmp_path: Path, when: Callable, minutes: float
) -> None:
    long_starts.checkpoint_minutes = minutes
    run, _ = steered(long_starts, tmp_path / "run")
    killed = Reconstruction(long_starts, tmp_path / "killed")
    steps, over = by_hand(killed), when()

    def dead(event: events.Event) -> bool:
        if steps and steps[0][0](event):
            steps.pop(0)[1]()
        return over(event)

    kill(killed, dead)
    resumed = Reconstruction.resume(tmp_path / "killed")
    # what was not reached is done by hand now
    *_, last = steer(resumed, *[(lambda _: True, command) for _, command in steps[4:]])
    assert isinstance(last, events.Finished), last
    given = killed.folder.commands()
    assert given == run.commands()[: len(given)]
    if len(given) == 4:
        assert is_same(killed.folder, run)
    assert is_same(again(killed.folder, tmp_path / "again")[0], killed.folder)
