from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QObject, Slot

from napari_cryospin.gui.work.garbage import Collector, put_off
from napari_cryospin.gui.work.threads import WorkerThread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

MANY = 20_000


def automatic() -> bool:
    """Whether Python collects by itself, on any thread."""
    return gc.isenabled() and gc.get_threshold()[0] > 0


class Ring:
    """Garbage once nobody holds it; counted by nobody else."""

    def __init__(self) -> None:
        self.itself = self


class Littering(QObject):
    """Leaves garbage behind on its thread."""

    first: weakref.ref[Ring] | None = None

    @Slot()
    def work(self) -> None:
        first = weakref.ref(Ring())
        for _ in range(MANY):
            Ring()
        self.first = first


@pytest.fixture
def collecting(qtbot: QtBot) -> Iterator[list[int]]:
    """Threads that looked for garbage; the test begins with none of ours there."""
    WorkerThread.end_all()
    qtbot.waitUntil(automatic, timeout=60_000)
    threads: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            threads.append(threading.get_ident())

    gc.callbacks.append(note)
    yield threads
    gc.callbacks.remove(note)


def test_a_worker_leaves_its_garbage_to_the_main_thread(
    qtbot: QtBot, collecting: list[int]
) -> None:
    """A timer that another thread destroys ends the program."""
    owner, worker = QObject(), Littering()
    thread = WorkerThread(worker, owner, "cryospin-test")
    thread.thread.started.connect(worker.work)
    collecting.clear()
    thread.start()
    qtbot.waitUntil(lambda: worker.first is not None and worker.first() is None)
    assert set(collecting) == {threading.get_ident()}
    thread.end()
    qtbot.waitUntil(automatic)


def test_it_is_left_to_python_again_only_with_the_last_thread(
    qtbot: QtBot, collecting: list[int]
) -> None:
    owner = QObject()
    threads = [WorkerThread(QObject(), owner, "cryospin-test") for _ in range(2)]
    for thread in threads:
        thread.start()
    threads[0].end()
    assert not automatic()
    threads[1].end()
    # from the event loop, not from within whatever has ended it
    assert not automatic()
    qtbot.waitUntil(automatic)


def test_an_import_goes_on_while_threads_come_and_go(qtbot: QtBot, collecting: list[int]) -> None:
    with put_off():
        Collector.hold()
    assert not automatic()
    with put_off():
        collecting.clear()
        Collector.let_go()
        qtbot.wait(600)
        assert not automatic()
        assert not collecting
    assert automatic()


def test_a_program_that_ends_collects_as_before(collecting: list[int]) -> None:
    """As where a script goes on after the window was closed."""
    Collector.hold()
    assert Collector._only is not None
    # not by its signal, which ends much of napari as well
    Collector._only._on_quit()
    assert not automatic()
    Collector.let_go()
    assert automatic()


def test_what_dask_makes_of_it_does_not_stay(qtbot: QtBot, collecting: list[int]) -> None:
    from dask.utils import disable_gc

    Collector.hold()
    # as it decorates a function at the import of a module
    sliced = disable_gc()(lambda: None)
    Collector.let_go()
    qtbot.waitUntil(automatic)
    sliced()
    assert automatic()


def test_where_collecting_is_switched_off_it_stays_so(qtbot: QtBot, collecting: list[int]) -> None:
    gc.disable()
    try:
        Collector.hold()
        ring = Ring()
        gone = weakref.ref(ring)
        del ring
        junk = [Ring() for _ in range(MANY)]
        del junk
        collecting.clear()
        qtbot.wait(600)
        assert gone() is not None
        assert not collecting
        Collector.let_go()
        qtbot.wait(600)
        assert not automatic()
        assert not collecting
    finally:
        gc.enable()
        gc.collect()
