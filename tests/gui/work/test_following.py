"""A run of another process in the window: from before its first epoch to its end, or its death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt

from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock

LONG = 180_000
# the command, which begins an epoch once a file of its number is there
CHILD = """
import pathlib, sys, time
from napari_cryospin.cli import main
from napari_cryospin.engine.run.loop import Loop

begin, folder = Loop._epoch, pathlib.Path(sys.argv.pop())

def when_told(loop):
    while not (folder / str(loop.training.clock.epoch)).exists():
        time.sleep(0.05)
    yield from begin(loop)

Loop._epoch = when_told
main()
"""


@pytest.fixture
def child(tiny_settings: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command, in a process of its own, with a run of two epochs in the folder run."""
    (tmp_path / "tiny.toml").write_text(tiny_settings.to_toml())
    arguments = ["reconstruct", "--settings", tmp_path / "tiny.toml", "--out", tmp_path / "run"]
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, arguments), str(tmp_path)],
        stderr=subprocess.DEVNULL,
    )
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def opened(
    qtbot: QtBot, shared_dock: CryoSpinDock, child: subprocess.Popen[bytes], tmp_path: Path
) -> CryoSpinDock:
    """The dock with the child's run, before its first epoch."""
    dock = shared_dock
    qtbot.waitUntil((tmp_path / "run" / "settings.toml").exists, timeout=LONG)
    with qtbot.waitSignal(dock.session.run_opened, timeout=LONG):
        dock.open_path(tmp_path / "run")
    return dock


def comes_to(qtbot: QtBot, dock: CryoSpinDock, state: SessionState) -> Callable[[], bool]:
    qtbot.waitUntil(lambda: dock.session.state is state, timeout=LONG)
    return dock.results.resume.isEnabled


def test_a_run_is_followed_from_before_its_first_epoch_to_its_end(
    qtbot: QtBot, opened: CryoSpinDock, child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    session, run = opened.session, opened.run
    can_resume = comes_to(qtbot, opened, SessionState.FOLLOWING)
    assert run.epochs.text() == "waiting for the first epoch"
    assert "Waiting for the first epoch" in run.message.text()
    assert not can_resume()
    assert session.particles.n == 40
    (tmp_path / "0").touch()
    with qtbot.waitSignal(session.volume_updated, timeout=LONG):
        pass
    assert session.state is SessionState.FOLLOWING
    qtbot.waitUntil(lambda: run.epochs.text() == "1 of ≤ 2 epochs", timeout=LONG)
    assert "Following" in run.state.text()
    assert run.epochs.value() == 1
    assert not can_resume()
    (tmp_path / "1").touch()
    comes_to(qtbot, opened, SessionState.FINISHED)
    assert [done.epoch for done in session.history] == [0, 1]
    assert session.latest_volume.epoch == 1
    assert run.epochs.text() == "all epochs done"
    assert "Verdict" in opened.results.summary.text()
    assert not can_resume()
    assert child.wait(60) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL to send")
@pytest.mark.parametrize("epochs", [0, 1])
def test_a_writer_that_is_killed_is_noticed_and_its_run_can_be_resumed(
    qtbot: QtBot, opened: CryoSpinDock, child: subprocess.Popen[bytes], tmp_path: Path, epochs: int
) -> None:
    session = opened.session
    can_resume = comes_to(qtbot, opened, SessionState.FOLLOWING)
    if epochs:
        (tmp_path / "0").touch()
        qtbot.waitUntil(lambda: len(session.history) == 1, timeout=LONG)
    # nobody asks how it ended: the system still knows of it
    os.kill(child.pid, signal.SIGKILL)
    comes_to(qtbot, opened, SessionState.STOPPED)
    after = "epoch 1 of ≤ 2" if epochs else "less than an epoch"
    assert f"Stopped after {after}: it can be resumed." in opened.run.message.text()
    assert can_resume()
    qtbot.mouseClick(opened.results.resume, Qt.MouseButton.LeftButton)
    comes_to(qtbot, opened, SessionState.FINISHED)
    assert [done.epoch for done in session.history] == [0, 1]
    assert not can_resume()
