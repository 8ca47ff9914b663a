"""Fixtures of the GUI tests: real widgets, real windows, the real engine on a small stack."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING

import pytest
from pytestqt.wait_signal import _AbstractSignalBlocker
from qtpy.QtCore import QCoreApplication, QSettings

from napari_cryospin.engine.events import EpochDone
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.stages import AmortizedStage, DirectStage
from napari_cryospin.gui.work.engine_import import import_engine
from napari_cryospin.gui.work.one_by_one import OneByOne
from napari_cryospin.gui.work.session import Session
from napari_cryospin.gui.work.threads import WorkerThread
from napari_cryospin.gui.work.worker import ReconstructionWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import napari
    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QApplication

    from napari_cryospin.engine.events import Event
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock


_REST_SECONDS = 1.0


@pytest.fixture(autouse=True, scope="session")
def little_rest() -> Iterator[None]:
    """What is shown follows at once, also where drawing is slow: tests wait for it."""
    shown = ("work.session", "explorer.posterior_feed")
    with pytest.MonkeyPatch.context() as patch:
        for name in shown:
            patch.setattr(f"napari_cryospin.gui.{name}._REST", 1)
        yield


@pytest.fixture(autouse=True, scope="session")
def imported() -> Iterator[None]:
    """What is imported is looked through for garbage once, not by every window that is closed."""
    import_engine()
    import napari.viewer  # noqa: F401

    import napari_cryospin.gui.dock  # noqa: F401

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def waits_on_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test waits for no signal that a worker's thread emits.

    What waits is told on that thread, and stops its timer there: Qt keeps the timer, and ends the
    program when it is due, in another test.
    """
    cleanup, wrong = _AbstractSignalBlocker._cleanup, []

    def checked(blocker: _AbstractSignalBlocker) -> None:
        if threading.current_thread() is not threading.main_thread():
            wrong.append(blocker)
        cleanup(blocker)

    monkeypatch.setattr(_AbstractSignalBlocker, "_cleanup", checked)
    yield
    assert not wrong, "A signal of a worker's thread was waited for."


@pytest.fixture(autouse=True)
def small(small_searches: None) -> None:
    """Searches and judgements are small in all of these tests."""


@pytest.fixture(autouse=True, scope="session")
def own_arrangement(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is remembered of windows lies in a folder of the tests, not in the user's."""
    ini, user = QSettings.Format.IniFormat, QSettings.Scope.UserScope
    QSettings.setPath(ini, user, str(tmp_path_factory.mktemp("remembered")))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new layers come all at once, not one after the other."""
    for name in ("add", "add_next"):
        monkeypatch.setattr(OneByOne, name, lambda _, piece: piece())


@pytest.fixture
def rests_between_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run rests after each epoch, as if it were a longer one: views have time to follow it."""
    pass_on = ReconstructionWorker._pass_on

    def rested(worker: ReconstructionWorker, event: Event) -> None:
        pass_on(worker, event)
        if isinstance(event, EpochDone):
            time.sleep(_REST_SECONDS)

    monkeypatch.setattr(ReconstructionWorker, "_pass_on", rested)


@pytest.fixture
def settings(short_settings: Settings) -> Settings:
    """Settings whose run takes long enough to be steered, on the small stack.

    The truth is not told: comparing with it takes most of so short an epoch.
    """
    settings = short_settings.model_copy(deep=True)
    settings.data.truth_map = settings.data.truth_star = None
    settings.stages = [
        AmortizedStage(
            epochs=400, until="hand", learning_rate_encoder=1e-3, learning_rate_volume=2e-2
        ),
        DirectStage(epochs=400, learning_rate_volume=1e-2),
    ]
    return settings


def discard(session: Session) -> None:
    """End a run that a test has left under way, and all threads.

    A run that is closed writes its results, which takes longer than most of these tests; those that
    are about closing do it themselves.
    """
    thread, end = session._thread, time.monotonic() + 60
    session._controls.stop(keep=False)
    while thread in WorkerThread._running and time.monotonic() < end:
        QCoreApplication.processEvents()
        time.sleep(0.01)
    WorkerThread.end_all()


@pytest.fixture
def session(qtbot: QtBot) -> Iterator[Session]:
    session = Session()
    yield session
    discard(session)


@pytest.fixture(scope="module")
def shared_dock(qapp: QApplication) -> Iterator[CryoSpinDock]:
    """The dock in a real, shown napari window, for the tests of one module that put all back.

    As ``dock`` has it from napari's fixture, which makes a window for every test.
    """
    import napari
    from napari._app_model._app import NapariApplication, _napari_names
    from napari._qt._qapp_model.qactions import init_qactions
    from napari._qt.qt_viewer import QtViewer
    from napari.plugins import _initialize_plugins
    from napari.settings import get_settings

    from napari_cryospin.gui.launch import dock_of

    get_settings().reset()
    _initialize_plugins.cache_clear()
    init_qactions.cache_clear()
    app = NapariApplication("shared_window")
    app.injection_store.namespace = _napari_names
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NapariApplication, "get_app_model", lambda: app)
        patch.setattr("napari._qt.threads.status_checker.StatusChecker.start", lambda *_: None)
        viewer = napari.Viewer(show=True, show_welcome_screen=False)
        window = viewer.window._qt_window
        patch.setattr(window, "_save_current_window_settings", lambda: None)
        dock = dock_of(viewer)
        dock.viewer = viewer
        yield dock
        discard(dock.session)
        viewer.close()
        del dock, viewer, window
    NapariApplication.destroy("shared_window")
    gc.collect()
    assert not QtViewer._instances


@pytest.fixture
def dock(make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot) -> Iterator[CryoSpinDock]:
    """The dock in a real, shown napari window; its pose grid is coarse."""
    from napari_cryospin.gui.launch import dock_of

    viewer = make_napari_viewer(show=True)
    dock = dock_of(viewer)
    dock.viewer = viewer
    # an eighth of the poses that a user is shown
    dock.posterior.explorer.options = PosteriorOptions(nside=4)
    yield dock
    discard(dock.session)
