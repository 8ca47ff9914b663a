"""Bad images of a stack, as the dock tells of them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import mrcfile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_cryospin.gui import dock as dock_module

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock

LONG = 60_000


def test_many_bad_images_are_a_warning_in_the_dock(
    qtbot: QtBot,
    dock: CryoSpinDock,
    settings: Settings,
    small_stack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(dock_module, "show_warning", warned.append)
    shutil.copytree(small_stack, tmp_path / "stack")
    with mrcfile.mmap(tmp_path / "stack" / "particles.mrcs", mode="r+") as file:
        file.data[:11] = 0
    settings.data.stack = tmp_path / "stack" / "particles.star"
    with qtbot.waitSignal(dock.session.run_started, timeout=LONG):
        dock.session.start(settings, tmp_path / "run")
    (sentence,) = warned
    assert sentence.startswith("6 % of the images cannot be used")
    assert dock.run.message.text() == sentence
    assert "11 of 200 images are set aside (11 blank)." in dock.data.notes.text()
    qtbot.mouseClick(dock.findChild(QPushButton, "run_discard"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not dock.session.active, timeout=LONG)


def test_an_image_without_a_number_is_shown_as_far_as_there_are_some(
    qtbot: QtBot, dock: CryoSpinDock, small_stack: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_stack, tmp_path / "stack")
    with mrcfile.mmap(tmp_path / "stack" / "particles.mrcs", mode="r+") as file:
        file.data[0, :9] = float("nan")
    dock.open_path(tmp_path / "stack" / "particles.star")
    qtbot.waitUntil(lambda: dock.data.image.image is not None, timeout=LONG)
    low, high = dock.data.image.levels
    assert low < high
