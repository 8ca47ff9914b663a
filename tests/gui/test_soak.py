"""Half an hour of loading, training, switching, stopping and opening leaves nothing behind."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest
from qtpy.QtWidgets import QApplication, QPushButton

from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.work.states import SessionState
from napari_cryospin.gui.work.threads import WorkerThread

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock

pytestmark = [
    pytest.mark.slow_campaign,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the memory from /proc"),
]

LONG = 300_000
CYCLES, WARM_UP = 200, 40
# memory differs by a tenth from cycle to cycle: medians of so many are compared
BLOCK = 20
# the share by which memory may differ from what it was after the warm-up
_FLAT = 0.05


class Held(NamedTuple):
    """What a process holds."""

    megabytes: float
    threads: int
    workers: int
    widgets: int
    layers: int


def held(dock: CryoSpinDock) -> Held:
    gc.collect()
    QApplication.processEvents()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return Held(
        pages * resource.getpagesize() / 1e6,
        threading.active_count(),
        len(WorkerThread._running),
        len(QApplication.allWidgets()),
        len(dock.viewer.layers),
    )


def press(qtbot: QtBot, dock: CryoSpinDock, name: str) -> None:
    button = dock.findChild(QPushButton, name)
    qtbot.waitUntil(button.isEnabled, timeout=LONG)
    button.click()


def cycle(
    qtbot: QtBot, dock: CryoSpinDock, settings: Settings, folder: Path, other: Path, n: int
) -> None:
    """Load particles, train, switch, stop, and look at another run."""
    session = dock.session
    with qtbot.waitSignal(session.table_changed, timeout=LONG):
        dock.open_path(settings.data.stack)
    dock.training.show_settings(settings)
    dock.training.run_folder.value = folder / f"run_{n:03d}"
    with qtbot.waitSignals([session.volume_updated] * 2, timeout=LONG):
        press(qtbot, dock, "run_start")
    # all pages in turn, and the explorer every other time
    dock.tabs.setCurrentIndex(n % dock.tabs.count())
    dock.open_posterior.setChecked(n % 2 == 0)
    press(qtbot, dock, "run_switch")
    qtbot.waitUntil(lambda: session.latest_volume.inference is Inference.DIRECT, timeout=LONG)
    press(qtbot, dock, "run_stop")
    qtbot.waitUntil(lambda: session.state is SessionState.STOPPED, timeout=LONG)
    with qtbot.waitSignal(session.volume_updated, timeout=LONG):
        dock.open_path(other)
    qtbot.waitUntil(lambda: session.state is SessionState.FINISHED, timeout=LONG)
    if n % 2 == 0:
        # with all its layers, or they would come in a later cycle
        feed, layers = dock.posterior.feed, dock.viewer.layers
        qtbot.waitUntil(lambda: feed.result is not None and len(layers) > 2, timeout=LONG)


@pytest.mark.usefixtures("little_rest")
def test_nothing_is_left_behind(
    qtbot: QtBot,
    shared_dock: CryoSpinDock,
    settings: Settings,
    finished_run: Path,
    tmp_path: Path,
) -> None:
    seen: list[Held] = []
    for n in range(CYCLES):
        cycle(qtbot, shared_dock, settings, tmp_path, finished_run, n)
        seen.append(held(shared_dock))
        print(f"after {n + 1} cycles: {seen[-1]}", flush=True)
    blocks = [seen[n : n + BLOCK] for n in range(WARM_UP, CYCLES, BLOCK)]
    medians = [statistics.median(each.megabytes for each in block) for block in blocks]
    print(f"medians of {BLOCK} cycles: {', '.join(f'{each:.0f}' for each in medians)} MB")
    for median in medians[1:]:
        assert abs(median / medians[0] - 1) <= _FLAT
    # the explorer is open in every other cycle
    for now, before in zip(seen[WARM_UP + 2 :], seen[WARM_UP:], strict=False):
        assert now[1:] == before[1:]
