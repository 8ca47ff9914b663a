"""Damaged runs in the window: what can be read is shown, with a message on the rest."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from damage import BEYOND_RESUME, FOREIGN, OF_THE_LAST_CHECKPOINT, OF_VIEWERS
from napari_cryospin.gui.explorer.state import Explorer
from napari_cryospin.gui.explorer.trail_reader import TrailReader
from napari_cryospin.gui.work.background import told

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.work.session import Session

LONG = 180_000
SHOWN = {
    "metrics-binary": OF_VIEWERS["metrics-binary"],
    "metrics-folder": OF_VIEWERS["metrics-folder"],
    "volume-binary": OF_VIEWERS["volume-binary"],
    "map-binary": OF_VIEWERS["map-binary"],
    "one-bit": OF_THE_LAST_CHECKPOINT["one-bit"],
    "no-checkpoints": lambda folder: shutil.rmtree(folder / "checkpoints"),
}
REFUSED = {
    name: (BEYOND_RESUME | FOREIGN)[name]
    for name in ("settings-binary", "settings-pipe", "stack-gone", "a-file", "relion-job")
}


@pytest.mark.parametrize("kind", SHOWN)
def test_what_can_be_read_is_shown_with_a_message(
    kind: str, qtbot: QtBot, session: Session, tiny_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    SHOWN[kind](run)
    messages: list[str] = []
    session.message.connect(messages.append)
    with qtbot.waitSignals([session.poses_updated, session.volume_updated], timeout=LONG):
        session.open_run(run)
    assert session.particles is not None
    assert session.particles.n == 40
    assert messages[-1].startswith(f"Showing the run in {run.name}. {run}") or (
        "checkpoint" in messages[-1] or "map.mrc" in messages[-1]
    )


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_run_is_told(
    kind: str, qtbot: QtBot, session: Session, tiny_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    REFUSED[kind](run)
    messages: list[str] = []
    session.message.connect(messages.append)
    session.open_run(run)
    qtbot.waitUntil(lambda: len(messages) == 2, timeout=LONG)
    assert "unexpectedly" not in messages[-1]
    assert messages[-1].endswith(".")


def test_epochs_that_the_figures_have_lost_can_still_be_looked_at(
    qtbot: QtBot, session: Session, tiny_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    (run / "metrics.csv").unlink()
    explorer = Explorer(session)
    with qtbot.waitSignal(explorer.recorded_changed, timeout=LONG):
        session.open_run(run)
    assert explorer.recorded == [0, 1]


def test_a_trail_leaves_a_damaged_epoch_out_and_says_so_once(
    qtbot: QtBot, session: Session, tiny_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    explorer = Explorer(session)
    with qtbot.waitSignal(session.volume_updated, timeout=LONG):
        session.open_run(run)
    OF_VIEWERS["poses-zeros"](run)
    messages: list[str] = []
    explorer.message.connect(messages.append)
    reader = TrailReader(explorer)
    for _ in range(2):
        with qtbot.waitSignal(reader.ready, timeout=LONG) as caught:
            reader.ask(soon=True)
        assert np.array_equal(caught.args[0].epochs, [0])
    assert len(messages) == 1
    assert "epoch_0001.npy" in messages[0]


def test_what_ends_work_in_the_background_is_one_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate\n")
    assert "RAM" in told(memory)
    assert "the disk is full" in told(OSError(28, "No space left on device", "a.png"))
    assert not caplog.records
    assert told(ValueError("two\nlines")) == "This failed unexpectedly: two lines"
    assert caplog.records
