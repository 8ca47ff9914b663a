"""Signals: Ctrl-C stops and keeps a run, twice aborts; others leave a checkpoint alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from napari_cryospin.cli.app import app
from napari_cryospin.cli.progress import Follower
from napari_cryospin.cli.run import follow
from napari_cryospin.engine import events
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import writing
from napari_cryospin.engine.stages import DirectStage, MarginalStage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
HURRIED = ("SIGTERM", "SIGHUP")

# the second signal comes as soon as the first has been answered, within one batch
ABORT = """
import os, signal, sys
from napari_cryospin.cli import main
from napari_cryospin.engine.run.controls import Controls

def stop(controls, *, keep):
    os.kill(os.getpid(), signal.SIGINT)

Controls.stop = stop
main()
"""


def start(settings: Settings, folder: Path, program: list[str]) -> subprocess.Popen[str]:
    """Begin a run that would take minutes in FOLDER/run."""
    settings.stages = [MarginalStage(nside=2, epochs=1000, until="epochs")]
    (folder / "long.toml").write_text(settings.to_toml())
    arguments = ["reconstruct", "--settings", folder / "long.toml", "--out", folder / "run"]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupt_after_an_epoch(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch"):
            process.send_signal(signal.SIGINT)
            break
    return process.communicate(timeout=60)[1]


def test_once_stops_and_keeps(tiny_settings: Settings, tmp_path: Path) -> None:
    program = ["-c", "from napari_cryospin.cli import main; main()"]
    with start(tiny_settings, tmp_path, program) as process:
        told = interrupt_after_an_epoch(process)
    assert process.returncode == 130, told
    assert "Stopping" in told
    run = RunFolder(tmp_path / "run")
    assert run.map_path.is_file()
    assert len(run.metrics()) < 1000


def test_twice_aborts(tiny_settings: Settings, tmp_path: Path) -> None:
    with start(tiny_settings, tmp_path, ["-c", ABORT]) as process:
        told = interrupt_after_an_epoch(process)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert not RunFolder(tmp_path / "run").map_path.exists()


@pytest.fixture
def run(small_stack: Path, tmp_path: Path) -> Reconstruction:
    """A run of a second: two starts, then auto-decoding after a search."""
    settings = Settings.from_preset("default")
    settings.threads, settings.starts = 1, 2
    settings.data.stack, settings.data.box = small_stack / "particles.star", 32
    settings.data.max_particles = 160
    settings.stages = [
        MarginalStage(nside=2, epochs=1, until="epochs", batch_size=40),
        DirectStage(epochs=1, pose_steps=1, volume_update="closed form", searches=1),
    ]
    return Reconstruction(settings, tmp_path / "run")


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[events.Event], bool]], None]:
    """Have this process sent a signal when an event is shown for the first time."""

    def arrange(name: str, when: Callable[[events.Event], bool]) -> None:
        show, sent = Follower.show, []

        def shown(follower: Follower, event: events.Event) -> None:
            show(follower, event)
            if not sent and when(event):
                sent.append(name)
                os.kill(os.getpid(), getattr(signal, name))

        monkeypatch.setattr(Follower, "show", shown)

    return arrange


def doing(task: str) -> Callable[[events.Event], bool]:
    return lambda event: isinstance(event, events.Progress) and event.task == task


def in_training(event: events.Event) -> bool:
    return isinstance(event, events.BatchDone) and event.batch == 2


@pytest.mark.parametrize("name", CODES)
def test_a_signal_ends_training(run: Reconstruction, send: Callable, name: str) -> None:
    before = [signal.getsignal(getattr(signal, each)) for each in CODES]
    send(name, in_training)
    assert follow(run) == CODES[name]
    folder = run.folder
    assert folder.checkpoints()
    assert folder.map_path.exists() is (name == "SIGINT")
    assert not (folder.path / names.LOCK).exists()
    assert [signal.getsignal(getattr(signal, each)) for each in CODES] == before
    assert follow(Reconstruction.resume(folder.path)) == 0
    assert len(folder.metrics()) == 3


@pytest.mark.parametrize("name", CODES)
def test_a_signal_while_particles_are_read(
    run: Reconstruction, send: Callable, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    send(name, doing("Reading particles"))
    assert follow(run) == CODES[name]
    assert not run.folder.path.exists()
    assert "nothing was written" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["Searching poses", "Writing maps"])
@pytest.mark.parametrize("name", HURRIED)
def test_a_signal_in_a_search_and_in_results(
    run: Reconstruction, send: Callable, name: str, task: str
) -> None:
    send(name, doing(task))
    assert follow(run) == CODES[name]
    assert run.folder.checkpoints()
    assert run.folder.verdict() is None
    assert not (run.folder.path / names.LOCK).exists()
    assert not list(run.folder.path.rglob("*.writing*"))
    assert follow(Reconstruction.resume(run.folder.path)) == 0


@pytest.mark.parametrize("where", ["judge", "pose_confidence"])
def test_a_signal_while_the_map_is_judged(
    run: Reconstruction, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def long(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr(Training, where, long)
        assert follow(run) == 143
    assert run.folder.checkpoints()
    assert follow(Reconstruction.resume(run.folder.path)) == 0


def test_a_signal_that_is_ignored_stays_so(run: Reconstruction, send: Callable) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        send("SIGHUP", in_training)
        assert follow(run) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("name", CODES)
def test_a_simulation_that_is_ended_leaves_nothing(
    small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def long(*_: object) -> None:
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(60)

    monkeypatch.setattr(writing, "_write_images", long)
    line = ["simulate", small_stack / "truth.mrc", "--out", tmp_path / "s", "--box", 32]
    result = CliRunner().invoke(app, list(map(str, line)))
    assert result.exit_code == CODES[name]
    assert not list((tmp_path / "s").iterdir())
