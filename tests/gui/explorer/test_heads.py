"""Heads that give several candidates each, in a real window: by mode, and after the switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.stages import AmortizedStage, DirectStage, MarginalStage

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock
    from napari_cryospin.gui.explorer.posterior_panel import PosteriorPanel

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000
HEADS, TURNS = 3, 8


def opened(qtbot: QtBot, dock: CryoSpinDock, settings: Settings, folder: Path) -> PosteriorPanel:
    """Run settings to their end, and open the run folder in a window, its explorer shown."""
    *_, last = Reconstruction(settings, folder).run()
    assert last.kept
    panel = dock.posterior
    panel.explorer.options = PosteriorOptions(nside=4)
    with qtbot.waitSignal(dock.session.run_opened, timeout=LONG):
        dock.open_path(folder)
    dock.open_posterior.setChecked(True)
    qtbot.waitUntil(lambda: panel.feed.result is not None, timeout=LONG)
    return panel


@pytest.fixture
def polar(settings: Settings) -> Settings:
    """Settings of a run of a second with heads that are asked at several turns."""
    model = {"encoder": "polar", "heads": HEADS, "turns": TURNS, "encoder_width": 16}
    settings.model = settings.model.model_copy(update=model)
    settings.data.truth_star = settings.data.stack.with_name("truth.star")
    settings.stages = [
        AmortizedStage(epochs=2, learning_rate_encoder=1e-3, learning_rate_volume=2e-2),
        DirectStage(epochs=1, hypotheses=2),
    ]
    return settings


def test_heads_stay_in_view_after_the_switch(
    qtbot: QtBot, dock: CryoSpinDock, polar: Settings, tmp_path: Path
) -> None:
    panel = opened(qtbot, dock, polar, tmp_path / "run")
    heads = panel.heads
    panel.tabs.setCurrentWidget(heads)
    qtbot.waitUntil(lambda: heads._cells is not None, timeout=LONG)
    # the territories of the last epoch of auto-encoding, beside the history and the switch
    assert heads.note.isVisible() and "epoch 2, the last of auto-encoding" in heads.note.text()
    assert len(heads._cells[0]) == HEADS
    switches = [line for line in heads.view.shares._switches if line.isVisible()]
    assert [line.value() for line in switches] == [2.5]
    # its error needs another of its figures, from what has been read already
    before = heads._cells
    heads.figure.setCurrentIndex(1)
    qtbot.waitUntil(lambda: heads._cells is not before and heads._cells is not None, timeout=LONG)
    assert np.nanmax(heads._cells[0]) > 1
    # at an epoch of auto-encoding itself there is nothing to be said
    panel.slider.setFocus()
    qtbot.keyClick(panel.slider, Qt.Key.Key_Home)
    qtbot.waitUntil(lambda: heads.note.isHidden(), timeout=LONG)
    assert panel.explorer.epoch == 0


def test_candidates_are_shown_by_mode(
    qtbot: QtBot, dock: CryoSpinDock, polar: Settings, tmp_path: Path
) -> None:
    panel = opened(qtbot, dock, polar, tmp_path / "run")
    panel.tabs.setCurrentWidget(panel.candidates)
    panel.slider.setFocus()
    qtbot.keyClick(panel.slider, Qt.Key.Key_Home)
    qtbot.waitUntil(lambda: panel.feed.result.request.volume.epoch == 0, timeout=LONG)
    qtbot.waitUntil(lambda: "that were recorded" in panel.candidates.note.text(), timeout=LONG)
    shown, beside = panel.candidates.view._shown, panel.feed.result.posterior.stand_ins
    assert len(shown.projections) == len(beside.places) <= 6
    assert shown.weights.sum() == pytest.approx(1)
    assert all(set(heads) <= set(range(HEADS)) for heads in shown.heads)
    assert shown.winner >= 0 and shown.numbers.max() <= HEADS * TURNS
    panel.tabs.setCurrentWidget(panel.pose)
    qtbot.waitUntil(lambda: "the heads <b>cover</b>" in panel.pose.text.text(), timeout=LONG)
    numbers = panel.pose.mollweide._numbers
    # what a posterior changes is drawn piece by piece
    qtbot.waitUntil(
        lambda: sum(text.isVisible() for text in numbers) == len(beside.places), timeout=LONG
    )
    # numbers and small points on the sphere, in the colours of the heads
    others = len(panel.feed.result.request.candidates) - len(beside.places)
    wanted = {"Candidates", *(["Other candidates"] if others else [])}
    qtbot.waitUntil(
        lambda: wanted <= {layer.name for layer in dock.viewer.layers if layer.visible},
        timeout=LONG,
    )


def test_a_run_without_an_encoder_says_so(
    qtbot: QtBot, dock: CryoSpinDock, settings: Settings, tmp_path: Path
) -> None:
    settings.stages = [MarginalStage(epochs=1, nside=2, until="epochs")]
    panel = opened(qtbot, dock, settings, tmp_path / "run")
    panel.tabs.setCurrentWidget(panel.heads)
    qtbot.waitUntil(lambda: "No stage" in panel.heads.note.text(), timeout=LONG)
    assert panel.heads._cells is None
