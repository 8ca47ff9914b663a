"""Taking results away from the dock: what is written, and what is never written over."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QScrollArea

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.metrics import read_metrics
from napari_cryospin.engine.runfolder.standing import Doing, Standing
from napari_cryospin.gui.panels.results_panel import ResultsPanel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.work.session import Session


@pytest.fixture
def panel(qtbot: QtBot, session: Session, found_run: Path) -> Iterator[ResultsPanel]:
    session.folder, session.settings = found_run, RunFolder(found_run).settings()
    panel = ResultsPanel(session)
    qtbot.addWidget(panel)
    yield panel


def save_as(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))


@pytest.mark.parametrize("name", ["out.star", "out.cs", "out"])
def test_poses_are_exported_by_the_suffix(
    qtbot: QtBot,
    panel: ResultsPanel,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    save_as(monkeypatch, tmp_path / name)
    with qtbot.waitSignal(panel._exporting.done, timeout=30_000):
        qtbot.mouseClick(panel.export, Qt.MouseButton.LeftButton)
    out = tmp_path / name if "." in name else tmp_path / "out.star"
    assert read_table(out).n_particles == 200


def test_hand_and_contrast_are_turned(
    qtbot: QtBot,
    panel: ResultsPanel,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panel.flip_hand.setChecked(True)
    panel.invert.setChecked(True)
    save_as(monkeypatch, tmp_path / "out.star")
    with qtbot.waitSignal(panel._exporting.done, timeout=30_000):
        panel.export.click()
    assert {path.name for path in tmp_path.glob("out*")} == {"out.star", "out.mrcs", "out_map.mrc"}


@pytest.mark.parametrize("button", ["map", "fsc", "export"])
def test_no_file_of_the_run_or_of_its_particles_is_written_over(
    qtbot: QtBot,
    panel: ResultsPanel,
    session: Session,
    small_stack: Path,
    found_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    button: str,
) -> None:
    click = panel.export if button == "export" else panel.save[button]
    for path in (small_stack / "particles.star", found_run / "particles.star"):
        before = path.read_bytes()
        save_as(monkeypatch, path)
        with qtbot.waitSignal(
            session.message, timeout=30_000, check_params_cb=lambda text: "choose another" in text
        ):
            click.click()
        assert path.read_bytes() == before


def test_a_map_is_saved_as_it_is(
    panel: ResultsPanel, found_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_as(monkeypatch, tmp_path / "saved_map.mrc")
    panel.save["map"].click()
    assert (tmp_path / "saved_map.mrc").read_bytes() == (found_run / "map.mrc").read_bytes()


def test_of_several_classes_the_map_of_the_chosen_one_is_saved(
    qtbot: QtBot,
    panel: ResultsPanel,
    session: Session,
    found_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert panel.map_of.isHidden()
    for number in (1, 3):
        (found_run / f"map_class{number}.mrc").write_bytes(b"class %d" % number)
    panel.show_class(2)
    session.epoch_done.emit(None)
    # the one on the canvas at first; a class that is empty may have no map
    assert [panel.map_of.itemText(place) for place in (0, 1, 2)] == ["class 1", "class 3", ""]
    assert panel.map_of.currentText() == "class 3" and not panel.map_of.isHidden()
    suggested: list[str] = []
    path = tmp_path / "saved_map.mrc"

    def ask(*asked: object) -> tuple[str, str]:
        suggested.append(str(asked[2]))
        return str(path), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    qtbot.mouseClick(panel.save["map"], Qt.MouseButton.LeftButton)
    assert path.read_bytes() == b"class 3"
    panel.map_of.setCurrentIndex(0)
    # all side by side again: what was chosen stays
    panel.show_class(None)
    session.epoch_done.emit(None)
    qtbot.mouseClick(panel.save["map"], Qt.MouseButton.LeftButton)
    assert path.read_bytes() == b"class 1"
    assert suggested == [f"found_run_map_class{number}.mrc" for number in (3, 1)]


def test_what_was_said_at_an_earlier_end_is_not_shown_of_a_run_that_is_written_elsewhere(
    qtbot: QtBot, session: Session, tiny_run: Path, tmp_path: Path
) -> None:
    folder = RunFolder(shutil.copytree(tiny_run, tmp_path / "run"))
    verdict = folder.verdict()
    assert verdict is not None
    folder.write_verdict(replace(verdict, symmetry="C4"))
    session.folder, session.settings = folder.path, folder.settings()
    session.history = list(read_metrics(folder.metrics_path).epochs)
    panel = ResultsPanel(session)
    qtbot.addWidget(panel)
    assert "Verdict" in panel.summary.text()
    assert not panel.symmetry.isHidden() and not panel.fsc.isHidden()
    for doing in (Doing.WRITTEN, Doing.STOPPED):
        session.standing = Standing(doing, 2, 4, resumable=doing is Doing.STOPPED)
        session.standing_changed.emit(session.standing)
        written = doing is Doing.WRITTEN
        assert ("Verdict" in panel.summary.text()) is not written
        assert panel.symmetry.isHidden() is panel.fsc.isHidden() is written


def test_the_tip_of_the_fsc_knows_of_both_kinds_of_halves(panel: ResultsPanel) -> None:
    tip = panel.save["fsc"].toolTip()
    assert "independent halves" in tip and "share their poses an upper bound" in tip


def test_all_of_a_long_verdict_can_be_read(qtbot: QtBot, panel: ResultsPanel) -> None:
    """Its advice comes last, on a screen that is too low for all of it."""
    panel.resize(500, 250)
    panel.show()
    panel.summary.setText("<br>".join(["A sentence of a verdict."] * 30))
    qtbot.waitUntil(lambda: panel.summary.height() >= panel.summary.heightForWidth(400))
    area = panel.findChild(QScrollArea)
    qtbot.waitUntil(lambda: area.verticalScrollBar().maximum() > 0)
