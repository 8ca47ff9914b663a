"""The dock as a whole: its size, its tabs, the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QAbstractButton, QWidget

from napari_cryospin.gui.session import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.dock import CryoSpinDock

LONG = 60_000


def test_it_fits_a_small_screen(qtbot: QtBot, dock: CryoSpinDock, small_stack: Path) -> None:
    with qtbot.waitSignal(dock.session.table_changed, timeout=LONG):
        dock.open_path(small_stack / "particles.star")
    # of 1366 x 768, napari's menu, title bars and the system's task bar leave so much
    assert dock.minimumSizeHint().height() <= 600
    assert dock.minimumSizeHint().width() <= 420


def test_a_panel_brings_up_its_tab(dock: CryoSpinDock) -> None:
    for panel in (dock.training, dock.monitor, dock.posterior, dock.results, dock.data):
        dock.tabs.setCurrentWidget(panel)
        assert panel.isVisible()
        # nothing is hidden to the right
        page = dock.tabs.currentWidget()
        assert panel.minimumSizeHint().width() <= page.viewport().width()


def test_what_can_be_pressed_says_what_it_does(dock: CryoSpinDock) -> None:
    for panel in (dock.run, dock.results, dock.data):
        for button in panel.findChildren(QAbstractButton):
            if button.objectName().startswith(("run_", "results_", "data_")):
                assert button.toolTip(), button.objectName()


def test_a_setting_that_cannot_be_used_is_told(
    qtbot: QtBot, dock: CryoSpinDock, small_stack: Path
) -> None:
    dock.open_path(small_stack / "particles.star")
    dock.run.start.click()
    assert "still being read" in dock.run.message.text()
    qtbot.waitUntil(lambda: dock.session.table is not None, timeout=LONG)
    dock.findChild(QWidget, "seed").setText("seven")
    dock.run.start.click()
    assert "Seed" in dock.run.message.text()
    assert dock.session.state is SessionState.IDLE


def test_the_demo_starts_by_itself(
    qtbot: QtBot, dock: CryoSpinDock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cryospin.engine.run import demo

    monkeypatch.setattr(demo, "N_PARTICLES", 200)
    with qtbot.waitSignals(
        [dock.session.progress, dock.session.run_started, dock.session.volume_updated],
        timeout=LONG,
    ):
        dock.start_demo(tmp_path / "demo", seed=3)
    assert dock.session.settings.seed == 3
    assert dock.session.folder == tmp_path / "demo" / "run"
    assert dock.tabs.tabText(dock.tabs.currentIndex()) == "Monitor"
    dock.run.discard.click()
    qtbot.waitUntil(lambda: not dock.session.active, timeout=LONG)
