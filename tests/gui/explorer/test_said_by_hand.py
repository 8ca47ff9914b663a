"""Who belongs, said by hand in a real window while a run trains: live, undone, and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt

from napari_cryospin.engine.data.member import APART, BELONGS, OPEN
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.run.checkpoint_reading import read_last_checkpoint
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.lock import RunLock
from napari_cryospin.gui.work.by_hand import LATER, NO_RUN
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000
LEFT = Qt.MouseButton.LeftButton


def test_images_are_taken_back_while_a_run_trains(
    qtbot: QtBot, dock: CryoSpinDock, settings: Settings, tmp_path: Path
) -> None:
    session, panel = dock.session, dock.posterior
    settings.stages[0].batch_size = 16
    settings.stages[0].epochs = 50
    settings.held_out = 0.0
    panel.explorer.options = PosteriorOptions(nside=4)
    with qtbot.waitSignal(session.table_changed, timeout=LONG):
        dock.open_path(settings.data.stack)
    session.start(settings, tmp_path / "run")
    dock.open_posterior.setChecked(True)
    page, gallery = panel.outliers, panel.outliers.gallery
    panel.tabs.setCurrentWidget(page)
    qtbot.waitUntil(lambda: gallery.particle_at(3) is not None, timeout=LONG)

    # chosen with the mouse in the gallery, and set apart
    shown = gallery.particles
    for place, modifiers in ((1, 0), (3, 1)):
        middle = gallery.images[place].getViewBox().sceneBoundingRect().center()
        where = gallery._canvas.mapFromScene(middle)
        control = Qt.KeyboardModifier.ControlModifier if modifiers else Qt.KeyboardModifier(0)
        qtbot.mouseClick(gallery._canvas.viewport(), LEFT, control, where)
    chosen = sorted([shown[1], shown[3]])
    assert gallery.selected.tolist() == chosen and "2 selected" in page.words.text()
    assert panel.explorer.particle == shown[3]
    qtbot.mouseClick(page.buttons.words[APART], LEFT)

    def said(rows: list[int], word: int) -> bool:
        """Return whether the run itself, not only the window, knows it."""
        told = session.by_hand._told
        return told is not None and told.by_hand is not None and (told.by_hand[rows] == word).all()

    # shown at once, before the run has taken it
    assert (session.latest_poses.membership[chosen] == 0).all()
    assert gallery.labels[1].text.endswith(": 0.00 ✗")
    qtbot.waitUntil(lambda: said(chosen, APART), timeout=LONG)
    assert (session.latest_poses.membership[chosen] == 0).all()
    # the images that were chosen stay in view, selected
    assert gallery.particles == shown and gallery.selected.tolist() == chosen

    # by key: they belong; then as it was before
    # keys of a page are heard in the window in front
    gallery.window().activateWindow()
    qtbot.waitUntil(gallery.window().isActiveWindow, timeout=LONG)
    gallery.setFocus()
    qtbot.keyClick(gallery, Qt.Key.Key_K)
    qtbot.waitUntil(lambda: said(chosen, BELONGS), timeout=LONG)
    assert (session.latest_poses.membership[chosen] == 1).all()
    qtbot.mouseClick(page.buttons.undo, LEFT)
    qtbot.waitUntil(lambda: said(chosen, APART), timeout=LONG)
    qtbot.keyClick(gallery, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: said(chosen, OPEN), timeout=LONG)
    assert not page.buttons.undo.isEnabled()

    # in the table
    table = panel.particles.table
    panel.tabs.setCurrentWidget(panel.particles)
    qtbot.waitUntil(lambda: table.model.rowCount() == 200, timeout=LONG)
    table.select(np.array([4, 5, 9]))
    qtbot.mouseClick(table.buttons.words[BELONGS], LEFT)
    qtbot.waitUntil(lambda: said([4, 5, 9], BELONGS), timeout=LONG)
    place = int(table.model.places()[4])
    column = next(
        n
        for n in range(table.model.columnCount())
        if table.model.headerData(n, Qt.Orientation.Horizontal) == "belongs"
    )
    qtbot.waitUntil(
        lambda: table.model.data(table.model.index(place, column)) == "1.00 ✓", timeout=LONG
    )
    # a paused run shows it as well, and takes it when it goes on
    session.pause()
    qtbot.waitUntil(lambda: session.state is SessionState.PAUSED, timeout=LONG)
    session.by_hand.say(np.array([7]), APART)
    assert session.latest_poses.membership[7] == 0 and not said([7], APART)
    session.resume()
    qtbot.waitUntil(lambda: said([7], APART), timeout=LONG)
    session.stop()
    qtbot.waitUntil(lambda: session.state is SessionState.STOPPED, timeout=LONG)
    commands = [one for one in RunFolder(tmp_path / "run").commands() if one.command == "members"]
    assert (commands[-1].belong, commands[-1].apart) == ("5-6,10", "8")

    # the run has ended: exports and branches heed what is said, and the window tells so
    with qtbot.waitSignal(session.message, timeout=LONG) as told:
        qtbot.mouseClick(table.buttons.words[APART], LEFT)
    assert told.args == [LATER]
    assert session.latest_poses.by_hand[[4, 5, 9, 7]].tolist() == [APART] * 4
    state = read_last_checkpoint(RunFolder(tmp_path / "run"), torch.device("cpu"))
    assert np.flatnonzero(state["poses"]["by_hand"].numpy()).tolist() == [4, 5, 7, 9]
    assert not state["poses"]["membership"][[4, 5, 7, 9]].any()
    with qtbot.waitSignal(session.message, timeout=LONG):
        qtbot.mouseClick(table.buttons.undo, LEFT)
    assert session.latest_poses.by_hand[[4, 7]].tolist() == [BELONGS, APART]
    # not while another process writes it: what was shown is taken back
    lock = RunLock.acquire(tmp_path / "run")
    with qtbot.waitSignal(session.message, timeout=LONG) as told:
        qtbot.mouseClick(table.buttons.words[APART], LEFT)
    lock.release()
    assert "is being written" in told.args[0] or "in use" in told.args[0]
    assert session.latest_poses.by_hand[[4, 7]].tolist() == [BELONGS, APART]
    # those of which it was said are found again
    panel.tabs.setCurrentWidget(page)
    gallery.clear_selection()
    page.shown.setCurrentText("Said by hand")
    qtbot.waitUntil(lambda: gallery.particles == [4, 5, 7, 9], timeout=LONG)


@pytest.mark.parametrize("word", [BELONGS, APART])
def test_nothing_can_be_said_before_a_run(qtbot: QtBot, dock: CryoSpinDock, word: int) -> None:
    with qtbot.waitSignal(dock.session.message, timeout=LONG) as told:
        dock.session.by_hand.say(np.array([0]), word)
    assert told.args == [NO_RUN]
