"""Fixtures of the GUI tests: real widgets, real windows, the real engine on a small stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.stages import AmortizedStage, DirectStage
from napari_cryospin.gui.work.session import Session
from napari_cryospin.gui.work.threads import WorkerThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import napari
    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock


@pytest.fixture
def settings(short_settings: Settings) -> Settings:
    """Settings whose run takes long enough to be steered, on the small stack with its truth."""
    settings = short_settings.model_copy(deep=True)
    settings.stages = [
        AmortizedStage(
            epochs=400, until="hand", learning_rate_encoder=1e-3, learning_rate_volume=2e-2
        ),
        DirectStage(epochs=400, learning_rate_volume=1e-2),
    ]
    return settings


@pytest.fixture
def session(qtbot: QtBot) -> Iterator[Session]:
    session = Session()
    yield session
    WorkerThread.end_all()


@pytest.fixture
def dock(make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot) -> Iterator[CryoSpinDock]:
    """The dock in a real, shown napari window."""
    from napari_cryospin.gui.launch import dock_of

    viewer = make_napari_viewer(show=True)
    dock = dock_of(viewer)
    dock.viewer = viewer
    yield dock
    WorkerThread.end_all()
