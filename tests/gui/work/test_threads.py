from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QObject, Slot

from napari_cryospin.gui.work.threads import WorkerThread

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


class Worker(QObject):
    nice: tuple[int, int] | None = None

    @Slot()
    def work(self) -> None:
        nice = [os.getpriority(os.PRIO_PROCESS, threading.get_native_id())]
        # as those that torch starts
        child = threading.Thread(
            target=lambda: nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        )
        child.start()
        child.join()
        self.nice = (nice[0], nice[1])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Qt sets the priority")
def test_a_worker_leaves_the_processor_to_the_window(qtbot: QtBot) -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    owner, worker = QObject(), Worker()
    thread = WorkerThread(worker, owner, "cryospin-test")
    thread.thread.started.connect(worker.work)
    thread.start()
    qtbot.waitUntil(lambda: worker.nice is not None)
    thread.end()
    nicer = min(before + 10, 19)
    assert worker.nice == (nicer, nicer)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


class Slow(QObject):
    """Does not hear that it is to end, for a while."""

    @Slot()
    def work(self) -> None:
        time.sleep(1)


def test_one_that_does_not_end_in_time_is_let_go_of_later(qtbot: QtBot) -> None:
    owner, worker = QObject(), Slow()
    thread = WorkerThread(worker, owner, "cryospin-test", timeout_ms=50)
    thread.thread.started.connect(worker.work)
    thread.start()
    qtbot.wait(100)
    thread.end()
    assert thread in WorkerThread._running
    qtbot.waitUntil(lambda: thread not in WorkerThread._running)
