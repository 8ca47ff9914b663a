"""What the Classes tab asks for, without a run: particles selected, dropped, taken back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.gui.explorer.class_chooser import ClassChooser
from napari_cryospin.gui.explorer.classes_panel import ClassesPanel
from napari_cryospin.gui.explorer.particles_panel import ParticlesPanel
from napari_cryospin.gui.explorer.state import Explorer
from napari_cryospin.gui.explorer.views_panel import ViewsPanel
from napari_cryospin.gui.views.views_view import NOBODY
from told_poses import poses_of_classes

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.work.session import Session

LONG = 60_000


@pytest.fixture
def explorer(session: Session) -> Explorer:
    """Six particles: three of class 1, two of class 2, none of class 3, one without a pose."""
    session.particles = SimpleNamespace(n=6, rows=np.arange(6), box=16)
    explorer = Explorer(session)
    winner = np.array([0, 0, 0, 0, 0, -1])
    poses = poses_of_classes([0, 1, 0, 1, 0, 0], 3, winner=winner)
    session.latest_poses = explorer.poses = poses
    return explorer


@pytest.fixture
def classes(qtbot: QtBot, explorer: Explorer) -> ClassesPanel:
    panel = ClassesPanel(explorer)
    qtbot.addWidget(panel)
    with qtbot.waitExposed(panel):
        panel.show()
    return panel


def test_particles_are_selected_in_a_table_that_was_not_looked_at_yet(
    qtbot: QtBot, explorer: Explorer, classes: ClassesPanel
) -> None:
    particles = ParticlesPanel(explorer)
    qtbot.addWidget(particles)
    classes.select_asked.connect(particles.show_selected)
    classes.table.selectRow(1)
    # as a click does it: the table is filled in the background once it is seen
    particles.show()
    classes.select.click()
    assert particles.table.model.rowCount() == 0
    qtbot.waitUntil(lambda: particles.table.selected.tolist() == [1, 3], timeout=LONG)
    assert particles.table.drop.isEnabled()
    # of a class without particles nothing is selected, and nothing can be dropped
    classes.table.selectRow(2)
    classes.select.click()
    assert not len(particles.table.selected) and not particles.table.drop.isEnabled()


def test_of_a_recorded_epoch_those_are_dropped_that_are_of_the_class_now(
    explorer: Explorer, classes: ClassesPanel
) -> None:
    asked: dict[str, list[int]] = {}
    for name in ("select", "save", "drop", "take_back"):
        signal = getattr(classes, f"{name}_asked")
        signal.connect(lambda rows, name=name: asked.update({name: rows.tolist()}))
    used = np.array([True, True, True, True, True, False])
    explorer.session.latest_poses = poses_of_classes([1, 1, 1, 0, 0, 1], 3, used=used)
    classes.table.selectRow(1)
    for button in (classes.select, classes.save, classes.drop, classes.take_back):
        button.click()
    # what is selected and saved is what is seen
    assert asked["select"] == asked["save"] == [1, 3]
    assert asked["drop"] == [0, 1, 2]
    assert asked["take_back"] == [0, 1, 2, 5]


def test_views_of_an_empty_class_say_that_it_is_empty(qtbot: QtBot, explorer: Explorer) -> None:
    page = ViewsPanel(explorer)
    qtbot.addWidget(page)
    page.show()
    for number, said in ((0, "3 particles"), (2, "No particle in use is of class 3.")):
        explorer.show_class(number)
        qtbot.waitUntil(lambda said=said: page.view.text.text().startswith(said), timeout=LONG)
    winner = np.full(6, -1)
    explorer.poses = poses_of_classes([0] * 6, 3, winner=winner)
    explorer.poses_changed.emit(explorer.poses)
    qtbot.waitUntil(lambda: page.view.text.text() == NOBODY, timeout=LONG)


def test_the_tip_of_the_class_shown_names_all_pages_that_follow_it(
    qtbot: QtBot, explorer: Explorer
) -> None:
    chooser = ClassChooser(explorer)
    qtbot.addWidget(chooser)
    assert "Views, Heads and Data set" in chooser.shown.toolTip()
