"""The main job with real buttons in a real napari window, with the real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.canvas.layers import VOLUME
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000


@pytest.fixture(autouse=True)
def yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who presses Discard means it."""
    monkeypatch.setattr("napari_cryospin.gui.panels.run_panel.ask_discard", lambda *_: True)


def press(qtbot: QtBot, dock: CryoSpinDock, name: str) -> None:
    button = dock.findChild(QPushButton, name)
    assert button.isEnabled(), name
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def load_and_start(qtbot: QtBot, dock: CryoSpinDock, settings: Settings, folder: Path) -> None:
    with qtbot.waitSignal(dock.session.table_changed, timeout=LONG):
        dock.open_path(settings.data.stack)
    dock.training.show_settings(settings)
    dock.training.run_folder.value = folder
    with qtbot.waitSignals([dock.session.volume_updated] * 2, timeout=LONG):
        press(qtbot, dock, "run_start")


@pytest.fixture
def dock(shared_dock: CryoSpinDock) -> CryoSpinDock:
    """The dock in a real, shown napari window, which these tests share; its grid is coarse."""
    shared_dock.posterior.explorer.options = PosteriorOptions(nside=4)
    return shared_dock


def test_starting_without_particles_says_what_to_do(qtbot: QtBot, dock: CryoSpinDock) -> None:
    press(qtbot, dock, "run_start")
    assert "Choose a particle stack in the Data tab" in dock.run.message.text()


def test_from_a_stack_to_a_map(
    qtbot: QtBot, dock: CryoSpinDock, settings: Settings, tmp_path: Path
) -> None:
    session, run = dock.session, dock.run
    load_and_start(qtbot, dock, settings, tmp_path / "run")
    assert dock.data.table.item(0, 1).text() == "200"
    assert "auto-encoding" in run.state.text()
    assert not run.start.isEnabled()

    # the layer is fed in place, and the view is the user's
    layer = dock.viewer.layers[VOLUME]
    dock.viewer.scene.camera.angles = (10, 20, 30)
    layer.iso_threshold, layer.contrast_limits = 2.5, (0, 9)
    before = layer.data.copy()
    qtbot.waitUntil(lambda: not np.array_equal(layer.data, before), timeout=LONG)
    assert dock.viewer.layers[VOLUME] is layer
    assert tuple(dock.viewer.scene.camera.angles) == (10, 20, 30)
    assert (layer.iso_threshold, tuple(layer.contrast_limits)) == (2.5, (0, 9))

    press(qtbot, dock, "run_pause")
    qtbot.waitUntil(lambda: session.state is SessionState.PAUSED, timeout=LONG)
    assert run.pause.text() == "Resume"
    with qtbot.assertNotEmitted(session.volume_updated, wait=1200):
        pass
    press(qtbot, dock, "run_pause")
    qtbot.waitUntil(lambda: session.state is SessionState.RUNNING, timeout=LONG)

    press(qtbot, dock, "run_switch")
    qtbot.waitUntil(lambda: "auto-decoding" in run.state.text(), timeout=LONG)
    assert not run.switch.isEnabled()
    qtbot.waitUntil(lambda: session.latest_volume.inference is Inference.DIRECT, timeout=LONG)

    # another particle, another heatmap
    dock.open_posterior.setChecked(True)
    feed, mollweide = dock.posterior.feed, dock.posterior.pose.mollweide
    qtbot.waitUntil(lambda: feed.result is not None, timeout=LONG)
    dock.posterior.spin.choose(3)
    qtbot.waitUntil(lambda: feed.result.posterior.particle == 3, timeout=LONG)
    heatmap = mollweide.map.image.image.copy()
    qtbot.mouseClick(dock.posterior.next, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: feed.result.posterior.particle == 4, timeout=LONG)
    assert not np.array_equal(np.nan_to_num(heatmap), np.nan_to_num(mollweide.map.image.image))
    spheres = {"Posterior of particle 5", "Views by winning candidate"}
    qtbot.waitUntil(
        lambda: {VOLUME, *spheres} <= {layer.name for layer in dock.viewer.layers}, timeout=LONG
    )

    press(qtbot, dock, "run_stop")
    qtbot.waitUntil(lambda: session.state is SessionState.STOPPED, timeout=LONG)
    assert (tmp_path / "run" / "map.mrc").is_file()
    assert dock.results.save["map"].isEnabled()
    assert "Map and poses are in" in run.message.text()

    epochs = len(session.history)
    press(qtbot, dock, "results_resume")
    qtbot.waitUntil(lambda: len(session.history) > epochs, timeout=LONG)
    assert session.history[-1].epoch == epochs
    press(qtbot, dock, "run_discard")
    qtbot.waitUntil(lambda: session.state is SessionState.STOPPED, timeout=LONG)


def test_a_deleted_layer_stays_away_until_it_is_asked_for_or_the_next_run(
    qtbot: QtBot, dock: CryoSpinDock, settings: Settings, tmp_path: Path
) -> None:
    load_and_start(qtbot, dock, settings, tmp_path / "run")
    dock.viewer.layers.remove(VOLUME)
    with qtbot.waitSignals([dock.session.volume_updated] * 2, timeout=LONG):
        pass
    assert VOLUME not in dock.viewer.layers
    press(qtbot, dock, "show_layers")
    assert VOLUME in dock.viewer.layers
    dock.viewer.layers.remove(VOLUME)
    press(qtbot, dock, "run_discard")
    qtbot.waitUntil(lambda: not dock.session.active, timeout=LONG)
    with qtbot.waitSignals([dock.session.volume_updated] * 2, timeout=LONG):
        press(qtbot, dock, "run_start")
    assert VOLUME in dock.viewer.layers
    press(qtbot, dock, "run_discard")
    qtbot.waitUntil(lambda: not dock.session.active, timeout=LONG)


def test_a_run_that_starts_shows_the_monitor_unless_results_are_looked_at(
    qtbot: QtBot, dock: CryoSpinDock, settings: Settings, tmp_path: Path
) -> None:
    for page, expected in ((dock.training, dock.monitor), (dock.results, dock.results)):
        dock.tabs.setCurrentWidget(page)
        with qtbot.waitSignal(dock.session.run_started, timeout=LONG):
            dock.session.start(settings, tmp_path / type(page).__name__)
        assert dock.tabs.currentWidget() is expected
        press(qtbot, dock, "run_discard")
        qtbot.waitUntil(lambda: not dock.session.active, timeout=LONG)


@pytest.mark.parametrize("name", ["particles.star", "run"])
def test_dropping_a_file_or_a_run_opens_it_in_the_dock(
    qtbot: QtBot, dock: CryoSpinDock, settings: Settings, finished_run: Path, name: str
) -> None:
    path = finished_run if name == "run" else settings.data.stack
    with qtbot.waitSignal(dock.session.table_changed, timeout=LONG):
        dock.viewer.open(path, plugin="napari-cryospin")
    assert dock.session.table.n_particles == 200
