"""The sample: one name everywhere, simulated off the main thread, and no layer of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QMenu

from napari_cryospin.engine.run import demo
from napari_cryospin.engine.run.demo import N_PARTICLES
from napari_cryospin.gui.reader import SAMPLE
from napari_cryospin.gui.work import sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.dock import CryoSpinDock

LONG = 180_000
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_sample_yet() -> Iterator[None]:
    sample.sample_folder.cache_clear()
    yield
    if sample.sample_folder.cache_info().currsize:
        sample._remove(sample.sample_folder())
    sample.sample_folder.cache_clear()


def test_the_sample_opens_in_the_dock_and_leaves_the_window_free(
    qtbot: QtBot, dock: CryoSpinDock, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate, threads = demo.simulate_demo, list[str]()

    def watched(*arguments: object) -> None:
        threads.append(threading.current_thread().name)
        simulate(*arguments)

    monkeypatch.setattr(demo, "simulate_demo", watched)
    said: list[str] = []
    dock.session.message.connect(said.append)
    with qtbot.waitSignal(dock.session.table_changed, timeout=LONG):
        assert dock.viewer.open_sample("napari-cryospin", "synthetic-stack") == []
        assert dock.session.table is None, "it comes later"
    assert dock.session.table.n_particles == N_PARTICLES
    assert len(dock.viewer.layers) == 0
    assert len(threads) == 1
    assert threads != [threading.main_thread().name]
    assert any(f"of {N_PARTICLES:,}" in sentence for sentence in said)
    # once a process
    with qtbot.waitSignal(dock.session.table_changed, timeout=LONG):
        dock.open_sample()
    assert len(threads) == 1


def test_menu_readme_and_guide_name_the_sample_alike(dock: CryoSpinDock) -> None:
    manifest = PluginManifest.from_distribution("napari-cryospin")
    (one,) = manifest.contributions.sample_data
    assert one.uri == SAMPLE
    menu = dock.viewer.window.file_menu.findChild(QMenu, "napari/file/samples")
    titles = [action.text() for action in menu.actions() if "cryoSPIN" in action.text()]
    assert titles == [f"{one.display_name} (cryoSPIN)"]
    for page in ("README.md", "docs/guide.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert f"*File > Open Sample > {titles[0]}*" in text


@pytest.mark.parametrize("used", [True, False])
def test_its_folder_goes_at_exit_unless_a_run_is_of_it(
    used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {}
    monkeypatch.setattr(sample.atexit, "register", lambda end, *given: ends.update({end: given}))
    monkeypatch.setattr(sample.atexit, "unregister", lambda end: ends.pop(end))
    sample.keep_if_used(tmp_path / "particles.star")
    folder = sample.sample_folder()
    assert folder.is_dir()
    assert sample.sample_folder() == folder
    sample.keep_if_used(None)
    if used:
        sample.keep_if_used(folder / "particles.star")
    for end, given in ends.items():
        end(*given)
    assert folder.exists() == used
