"""A posterior says which map it is of and how old it is, however slow it is to compute."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.gui.explorer.posterior_feed import _MOST_INTERVAL_MS
from napari_cryospin.gui.work.session import SessionState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock
    from napari_cryospin.gui.explorer.posterior_panel import PosteriorPanel

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000


@pytest.fixture
def panel(
    qtbot: QtBot, shared_dock: CryoSpinDock, settings: Settings, tmp_path: Path
) -> PosteriorPanel:
    """The explorer of a run under way, its first particle's posterior shown; one run for all."""
    session, panel = shared_dock.session, shared_dock.posterior
    panel.explorer.options = PosteriorOptions(nside=4)
    if not session.active:
        session.start(settings, tmp_path / "run")
    session.resume()
    shared_dock.open_posterior.setChecked(True)
    panel.spin.choose(0)
    qtbot.waitUntil(lambda: session.state is SessionState.RUNNING, timeout=LONG)
    qtbot.waitUntil(lambda: panel.feed.result is not None, timeout=LONG)
    qtbot.waitUntil(lambda: panel.feed.result.posterior.particle == 0, timeout=LONG)
    return panel


@pytest.fixture
def gate(panel: PosteriorPanel, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Answers are computed while this is set, and wait otherwise."""
    gate, worker = threading.Event(), panel.feed.service._worker
    compute: Callable[..., object] = worker._compute

    def slowly(request: object) -> object:
        gate.wait(LONG / 1000)
        return compute(request)

    monkeypatch.setattr(worker, "_compute", slowly)
    return gate


def test_a_slow_answer_is_seen_to_be_old(
    qtbot: QtBot, panel: PosteriorPanel, gate: threading.Event
) -> None:
    session, shown = panel.explorer.session, panel.feed.result
    try:
        qtbot.waitUntil(lambda: panel.feed.service.busy, timeout=LONG)
        behind = shown.request.volume.epoch + 2
        qtbot.waitUntil(lambda: panel.explorer.volume.epoch >= behind, timeout=LONG)
        qtbot.waitUntil(lambda: "training is in epoch" in panel.age.text(), timeout=LONG)
        said = panel.age.text()
        assert f"map of epoch {panel.feed.result.request.volume.epoch + 1}" in said
        assert "ago" in said and "computing" in said
        # the marks are those of the shown posterior, not of the present poses
        assert panel.feed.result.request.poses is not panel.explorer.poses
        given = panel.feed.result.request.candidates[:, 2]
        if len(given):
            points = panel.layers._kept.get("head candidates").data
            there = panel.layers._right.place(given, height=1.04)
            assert np.allclose(points, there, atol=1e-3)
    finally:
        gate.set()
    session.pause()
    qtbot.waitUntil(lambda: session.state is SessionState.PAUSED, timeout=LONG)
    qtbot.waitUntil(lambda: not panel.feed.service.busy, timeout=LONG)
    assert "computing" not in panel.age.text()


def test_an_answer_that_comes_too_late_is_dropped(
    qtbot: QtBot, panel: PosteriorPanel, gate: threading.Event
) -> None:
    particles = []
    panel.feed.ready.connect(lambda result: particles.append(result.posterior.particle))
    try:
        qtbot.waitUntil(lambda: panel.feed.service.busy, timeout=LONG)
        panel.spin.choose(5)
        panel.explorer.set_options(temperature=30.0)
    finally:
        gate.set()
    qtbot.waitUntil(lambda: bool(particles), timeout=LONG)
    assert set(particles) == {5}
    assert panel.feed.result.request.options.temperature == 30


def test_the_next_answer_is_not_put_off_for_minutes(panel: PosteriorPanel) -> None:
    started = time.monotonic()
    panel.feed._on_ready(replace(panel.feed.result, seconds=20.0))
    assert panel.feed._timer.interval() <= _MOST_INTERVAL_MS <= 5000
    assert time.monotonic() - started < LONG


def test_taking_up_a_map_ends_when_nobody_waits(qtbot: QtBot, panel: PosteriorPanel) -> None:
    session, worker = panel.explorer.session, panel.feed.service._worker
    session.pause()
    qtbot.waitUntil(lambda: session.state is SessionState.PAUSED, timeout=LONG)
    qtbot.waitUntil(lambda: not panel.feed.service.busy, timeout=LONG)
    request = panel.feed.result.request
    with pytest.raises(Exception, match=r"^$") as ended:
        worker._require_wanted(replace(request, era=request.era - 1))
    assert type(ended.value).__name__ == "_Ended"
    # the noise is estimated particle by particle, and each may be the last
    explorer = worker._factory(request.particles, request.options)
    called = []

    def alive() -> None:
        called.append(1)
        if len(called) == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        explorer.set_volume(request.volume.volume, request.shifts, alive=alive)
    # a wish after one that was ended is answered
    worker.era += 1
    panel.feed.service.ask(request.particles, request.volume, 7, options=request.options)
    qtbot.waitUntil(lambda: panel.feed.result.posterior.particle == 7, timeout=LONG)
