"""The Data tab."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.settings import Settings
from napari_cryospin.gui.panels.data_panel import DataPanel
from napari_cryospin.gui.panels.training_panel import TrainingPanel

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.work.session import Session


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> DataPanel:
    panel = DataPanel(session)
    qtbot.addWidget(panel)
    return panel


@pytest.fixture
def table(small_stack: Path, tmp_path: Path) -> Path:
    """A table whose images are elsewhere, in the folder images beside its own."""
    for folder in ("tables", "images"):
        (tmp_path / folder).mkdir()
    shutil.copy(small_stack / "particles.mrcs", tmp_path / "images")
    return Path(shutil.copy(small_stack / "particles.star", tmp_path / "tables"))


def test_images_are_found_in_the_folder_that_is_chosen(
    qtbot: QtBot, session: Session, panel: DataPanel, table: Path
) -> None:
    with qtbot.waitSignal(session.table_changed):
        panel.open(table)
    assert "Images in" in panel.notes.text()
    images = table.parents[1] / "images"
    panel.datadir.setText(str(images))
    with qtbot.waitSignal(session.table_changed):
        panel.datadir.returnPressed.emit()
    assert session.table is not None
    assert session.table.stacks == (images / "particles.mrcs",)
    assert panel.datadir_path == images


def test_the_folder_of_images_belongs_to_one_table(
    qtbot: QtBot, session: Session, panel: DataPanel, table: Path, small_stack: Path
) -> None:
    panel.datadir.setText(str(table.parent))
    with qtbot.waitSignal(session.table_changed):
        panel.open(small_stack / "particles.star")
    assert panel.datadir_path is None


def test_a_run_is_told_the_folder_of_images(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    form = TrainingPanel(session)
    qtbot.addWidget(form)
    settings = Settings.from_preset("default")
    settings.data.stack, settings.data.datadir = tmp_path / "a.star", tmp_path / "old"
    settings.data.voltage = 200.0
    form.show_settings(settings)
    same = form.settings(tmp_path / "a.star", None).data
    assert (same.datadir, same.voltage) == (tmp_path / "old", 200.0)
    chosen = form.settings(tmp_path / "a.star", None, tmp_path / "new").data
    assert chosen.datadir == tmp_path / "new"
    other = form.settings(tmp_path / "b.star", None).data
    assert (other.datadir, other.voltage) == (None, None)


def test_nothing_lies_on_the_table_where_there_is_little_room(
    qtbot: QtBot, session: Session, panel: DataPanel, small_stack: Path
) -> None:
    panel.setFixedSize(560, 420)
    panel.show()
    with qtbot.waitSignal(session.table_changed):
        panel.open(small_stack / "particles.star")
    panel.notes.setText("\n".join(["A note that says what is the matter with the images."] * 6))
    panel.notes.setVisible(True)

    def one_above_the_other() -> bool:
        shown = [each.geometry() for each in (panel.notes, panel.table, panel.particle)]
        return all(a.bottom() < b.top() for a, b in itertools.pairwise(shown))

    qtbot.waitUntil(one_above_the_other)
    assert panel.table.height() >= 10 * 22
