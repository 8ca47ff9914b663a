from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QFileDialog

from napari_cryospin.engine.settings import Settings
from napari_cryospin.gui.results_panel import ResultsPanel

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.session import Session


@pytest.fixture
def panel(qtbot: QtBot, session: Session, tmp_path: Path) -> ResultsPanel:
    """The panel with a run that has a map and poses, but no FSC and no checkpoint."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "map.mrc").write_bytes(b"map")
    (folder / "particles.star").write_bytes(b"poses")
    session.folder, session.settings = folder, Settings.from_preset("quick")
    session.settings.data.stack = tmp_path / "a.star"
    made = ResultsPanel(session)
    qtbot.addWidget(made)
    return made


def test_before_a_run_there_is_nothing_to_take_away(qtbot: QtBot, session: Session) -> None:
    panel = ResultsPanel(session)
    qtbot.addWidget(panel)
    buttons = (*panel.save.values(), panel.show_folder, panel.copy, panel.resume)
    assert not any(button.isEnabled() for button in buttons)
    assert panel.open.isEnabled()


def test_what_the_run_has_can_be_saved(
    panel: ResultsPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "saved.mrc"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    assert not panel.save["fsc"].isEnabled()
    panel.save["map"].click()
    assert target.read_bytes() == b"map"
    panel.save["poses"].click()
    assert target.read_bytes() == b"poses"


@pytest.mark.parametrize("target", ["no-such-folder/map.mrc", "run/map.mrc"])
def test_a_target_that_cannot_be_written_is_told(
    qtbot: QtBot,
    session: Session,
    panel: ResultsPanel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / target), ""))
    with qtbot.waitSignal(session.message) as said:
        panel.save["map"].click()
    assert "could not be written" in said.args[0]
    assert "None" not in said.args[0]
    assert (tmp_path / "run" / "map.mrc").read_bytes() == b"map"


def test_the_run_is_copied_as_a_command(panel: ResultsPanel) -> None:
    panel.copy.click()
    words = QGuiApplication.clipboard().text().split()
    assert words[:2] == ["napari-cryospin", "reconstruct"]
    assert "--preset" in words


def test_a_run_with_a_checkpoint_can_be_resumed(
    session: Session, panel: ResultsPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not panel.resume.isEnabled()
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "epoch_0001.pt").write_bytes(b"")
    session.state_changed.emit(session.state)
    resumed: list[Path] = []
    monkeypatch.setattr(session, "resume_run", resumed.append)
    panel.resume.click()
    assert resumed == [tmp_path / "run"]
