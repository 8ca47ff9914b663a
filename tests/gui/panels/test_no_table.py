"""No table is there while one is read and where it cannot be: nothing of the one before is used."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt

from napari_cryospin.gui.work import session as session_module
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.dock import CryoSpinDock

LONG = 180_000


@pytest.fixture
def loaded(qtbot: QtBot, dock: CryoSpinDock, small_stack: Path, tmp_path: Path) -> CryoSpinDock:
    """The dock with a table that it shows, and a run folder that may be made."""
    with qtbot.waitSignal(dock.session.table_changed, timeout=LONG):
        dock.open_path(small_stack / "particles.star")
    qtbot.waitUntil(lambda: dock.data.image.image is not None, timeout=LONG)
    dock.training.run_folder.value = tmp_path / "run"
    return dock


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Tables are read once this is set."""
    read, go = session_module.read_table, threading.Event()

    def slowly(*arguments: Path | None) -> object:
        go.wait(60)
        return read(*arguments)

    monkeypatch.setattr(session_module, "read_table", slowly)
    yield go
    go.set()


def start(qtbot: QtBot, dock: CryoSpinDock) -> str:
    qtbot.mouseClick(dock.run.start, Qt.MouseButton.LeftButton)
    return dock.run.message.text()


def shows_nothing(dock: CryoSpinDock) -> bool:
    data = dock.data
    return (
        data.table.rowCount() == 0
        and data.image.image is None
        and data.of.text() == ""
        and not data.particle.isEnabled()
    )


def test_a_file_that_fails_leaves_nothing_of_the_one_before(
    qtbot: QtBot, loaded: CryoSpinDock, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.star"
    bad.write_text("data_particles\n\nloop_\n_rlnImageName #1\n")
    with qtbot.waitSignals([loaded.session.table_cleared] * 2, timeout=LONG):
        loaded.open_path(bad)
    assert loaded.session.table is None
    assert shows_nothing(loaded)
    assert "bad.star" in loaded.data.notes.text()
    assert "bad.star" in start(qtbot, loaded)
    assert not loaded.session.active
    assert not (tmp_path / "run").exists()


def test_nothing_is_started_while_a_file_is_read(
    qtbot: QtBot, loaded: CryoSpinDock, held: threading.Event, finished_run: Path
) -> None:
    loaded.open_path(finished_run / "particles.star")
    assert shows_nothing(loaded)
    assert "still being read" in start(qtbot, loaded)
    assert not loaded.session.active
    with qtbot.waitSignal(loaded.session.table_changed, timeout=LONG):
        held.set()
    start(qtbot, loaded)
    assert loaded.session.settings.data.stack == finished_run / "particles.star"


def test_a_name_that_was_typed_counts_without_enter(
    qtbot: QtBot, loaded: CryoSpinDock, tmp_path: Path
) -> None:
    loaded.data.path.setText(str(tmp_path / "typed.star"))
    assert "typed.star is still being read" in start(qtbot, loaded)
    qtbot.waitUntil(lambda: "typed.star" in loaded.session.no_table, timeout=LONG)
    assert not loaded.session.active


def test_a_run_keeps_its_stack_while_another_file_fails(
    qtbot: QtBot, loaded: CryoSpinDock, tmp_path: Path
) -> None:
    session = loaded.session
    with qtbot.waitSignal(session.run_started, timeout=LONG):
        start(qtbot, loaded)
    particles = session.particles
    with qtbot.waitSignals([session.table_cleared] * 2, timeout=LONG):
        loaded.open_path(tmp_path / "absent.star")
    assert session.particles is particles
    assert session.state is SessionState.RUNNING


def test_opening_a_run_does_not_wait_for_a_table(
    qtbot: QtBot, loaded: CryoSpinDock, held: threading.Event, small_stack: Path, tmp_path: Path
) -> None:
    loaded.open_path(small_stack / "particles.star")
    loaded.session.open_run(tmp_path)
    assert "Choose a particle stack in the Data tab first." in start(qtbot, loaded)
