"""The worker's promises, with an engine that misbehaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.run import events, reconstruction
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.engine.settings import Settings, Stage
from napari_cryospin.gui.worker import ReconstructionWorker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FakeReconstruction:
    """Yields the given events; an exception among them is raised."""

    stack = None
    plan: tuple[events.Event | Exception, ...] = ()

    def __init__(self, *_: object) -> None:
        pass

    def run(self) -> Iterator[events.Event]:
        for item in self.plan:
            if isinstance(item, Exception):
                raise item
            yield item


@pytest.fixture
def worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[ReconstructionWorker, list[events.Event]]:
    monkeypatch.setattr(reconstruction, "Reconstruction", FakeReconstruction)
    made = ReconstructionWorker(Settings(), tmp_path, Controls())
    ends: list[events.Event] = []
    made.ended.connect(ends.append)
    return made, ends


def plan(monkeypatch: pytest.MonkeyPatch, *items: events.Event | Exception) -> None:
    monkeypatch.setattr(FakeReconstruction, "plan", items)


def batch(number: int) -> events.BatchDone:
    return events.BatchDone(0, number, 5, Stage.AUTO_ENCODING, 1.0 / number, 100.0, 1.0)


def volume(epoch: int) -> events.VolumeUpdated:
    return events.VolumeUpdated(epoch, Stage.AUTO_ENCODING, np.zeros((2, 2, 2), np.float32), 1.0)


# most of torch's errors, out of memory among them, are RuntimeErrors
@pytest.mark.parametrize("error", [RuntimeError("no memory"), ValueError("bad")])
def test_an_exception_ends_the_stream_once(monkeypatch, worker, error: Exception) -> None:
    plan(monkeypatch, events.EpochStarted(0, 1, Stage.AUTO_ENCODING), error)
    worker[0].run()
    (end,) = worker[1]
    assert isinstance(end, events.Failed)
    assert str(error) in end.message
    assert "Traceback" in end.details
    assert "Traceback" not in end.message


def test_a_stream_without_an_end_is_a_failure(monkeypatch, worker) -> None:
    plan(monkeypatch, events.EpochStarted(0, 1, Stage.AUTO_ENCODING))
    worker[0].run()
    (end,) = worker[1]
    assert isinstance(end, events.Failed)


def test_the_end_comes_once_and_only_as_the_end(monkeypatch, worker, tmp_path: Path) -> None:
    happened: list[events.Event] = []
    worker[0].happened.connect(happened.append)
    last = events.Finished(tmp_path, False, True, None)
    plan(monkeypatch, events.Paused(), events.Resumed(), last)
    worker[0].run()
    assert worker[1] == [last]
    assert happened == [events.Paused(), events.Resumed()]


def test_no_loss_is_lost_and_the_latest_map_wins(monkeypatch, worker, tmp_path: Path) -> None:
    items = [item for number in range(1, 6) for item in (batch(number), volume(number))]
    plan(monkeypatch, *items, events.Finished(tmp_path, False, True, None))
    worker[0].run()
    assert [done.batch for done in worker[0].losses] == [1, 2, 3, 4, 5]
    assert worker[0].batch.take().batch == 5
    assert worker[0].volume.take().epoch == 5
    assert worker[0].volume.take() is None
