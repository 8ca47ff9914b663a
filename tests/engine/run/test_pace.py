"""What is left: of the present stage by its own batches, of a task by its own rate, or unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine import events
from napari_cryospin.engine.run.pace import StagePace, TaskPace, duration
from napari_cryospin.engine.run.reconstruction import Reconstruction

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.events import Event
    from napari_cryospin.engine.settings import Settings


class Watch:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def train(pace: StagePace, watch: Watch, *seconds: float) -> None:
    pace.mark()
    for each in seconds:
        watch.seconds += each
        pace.trained(10)


def test_a_stage_goes_by_its_own_batches_and_the_first_one_does_not_count() -> None:
    watch = Watch()
    pace = StagePace(watch)
    train(pace, watch, 60, 2)
    assert pace.seconds_left(100, 1, 0) is None
    watch.seconds += 1000
    train(pace, watch, 2)
    assert pace.seconds_left(100, 1, 0) == pytest.approx(20)
    assert pace.images_per_second == pytest.approx(5)
    pace.begin_stage()
    assert pace.seconds_left(100, 1, 0) is None
    train(pace, watch, 9, 1, 1)
    assert pace.seconds_left(100, 1, 0) == pytest.approx(10)


def test_searches_and_ends_of_epochs_to_come_are_counted_and_pauses_are_not() -> None:
    watch = Watch()
    pace = StagePace(watch)
    pace.mark()
    watch.seconds += 30
    pace.searched()
    pace.mark()
    for _ in range(3):
        watch.seconds += 501
        pace.rest(500)
        pace.trained(10)
    pace.mark()
    watch.seconds += 4
    pace.ended()
    assert pace.seconds_left(100, 2, 3) == pytest.approx(10 + 2 * 4 + 3 * 30)


def test_a_task_has_a_rate_of_its_own() -> None:
    watch = Watch()
    pace = TaskPace(watch)

    def left(task: str, done: int, total: int, after: float) -> float | None:
        watch.seconds += after
        return pace.seconds_left(events.Progress(task, done, total))

    assert left("Searching poses", 0, 100, 50) is None
    assert left("Searching poses", 10, 100, 2) == pytest.approx(18)
    # another search, and another task, begin anew
    assert left("Searching poses", 0, 100, 50) is None
    assert left("Searching poses", 20, 100, 2) == pytest.approx(8)
    assert left("Reading particles", 30, 100, 2) is None
    # few steps are not alike, and what nobody can count has no end
    assert left("Writing maps", 0, 3, 2) is None
    assert left("Writing maps", 2, 3, 2) is None
    assert left("Judging the map", 0, 0, 2) is None


def test_spans_are_told_in_words() -> None:
    assert [duration(each) for each in (59.4, 200, 7300)] == ["59 s", "3 min 20 s", "2 h 1 min"]


def phases(stream: list[Event]) -> list[str]:
    """Return what a run does, one word for each phase in its order."""
    found: list[str] = []
    for event in stream:
        match event:
            case events.Progress():
                word = event.task
            case events.BatchDone():
                word = event.inference.label
            case _:
                continue
        if not found or found[-1] != word:
            found.append(word)
    return found


def test_every_phase_of_a_run_has_words_of_its_own(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.starts = 2
    tiny_settings.stages[1].searches = 1
    first = [
        "marginalisation",
        "Measuring the map",
        "Judging the start",
        "Beginning the next stage",
    ]
    assert phases(list(Reconstruction(tiny_settings, tmp_path / "run").run())) == [
        "Reading particles",
        "Making the kernels ready",
        "Preparing the first stage",
        *first,
        *first,
        "Looking for outliers",
        "Searching poses",
        "auto-decoding",
        "Measuring the map",
        "Writing maps",
        "Judging the map",
    ]


def test_no_stage_is_told_the_pace_of_the_one_before(
    short_settings: Settings, tmp_path: Path
) -> None:
    settings = short_settings.model_copy(deep=True)
    for stage in settings.stages:
        stage.batch_size = 40
    left: dict[int, list[float | None]] = {0: [], 1: []}
    stage = 0
    for event in Reconstruction(settings, tmp_path / "run").run():
        if isinstance(event, events.Switched):
            stage = event.stage
        if isinstance(event, events.BatchDone):
            left[stage].append(event.seconds_left)
    for told in left.values():
        assert told[:2] == [None, None]
        assert all(each is not None for each in told[2:])
        # after the last batch only the epoch's end is left
        assert told[-1] < told[-2]
