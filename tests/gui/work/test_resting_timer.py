from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QObject

from napari_cryospin.gui.work.resting_timer import RestingTimer
from napari_cryospin.gui.work.session import MOST_INTERVAL_MS

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.work.session import Session


@pytest.mark.parametrize(
    ("most_ms", "seconds", "interval"),
    [(None, 0.001, 100), (None, 0.1, 2000), (None, 5, 100_000), (3000, 0.1, 2000), (3000, 5, 3000)],
)
def test_the_timer_rests_in_proportion(
    qtbot: QtBot, most_ms: int | None, seconds: float, interval: int
) -> None:
    owner = QObject()
    timer = RestingTimer(100, 20, owner, most_ms)
    timer.worked(seconds)
    assert timer.interval() == interval


def test_one_slow_drawing_does_not_hold_up_the_maps(session: Session) -> None:
    session._slow.worked(60.0)
    assert session._slow.interval() == MOST_INTERVAL_MS
