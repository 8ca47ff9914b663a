"""Saving a view's numbers: never over a file of a run, never over another kind of file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_cryospin.gui.views.export import SaveButtons

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot


class View:
    """Something with numbers to save."""

    title = "A view"

    def restyle(self) -> None:
        """Nothing is drawn."""

    def graphics(self) -> list[object]:
        return []

    def table(self) -> dict[str, np.ndarray]:
        return {"x": np.arange(3)}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("run/fsc.csv", "belongs to the run"),
        ("particles.star", "saved as .csv"),
        ("new.csv", "Saved"),
    ],
)
def test_numbers_are_saved_where_nothing_is_lost(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    (tmp_path / "run").mkdir()
    for own in ("run/settings.toml", "run/fsc.csv", "particles.star"):
        (tmp_path / own).write_text("mine")
    buttons = SaveButtons(View())
    qtbot.addWidget(buttons)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / name), ""))
    with qtbot.waitSignal(buttons.message) as told:
        buttons.data.click()
    assert sentence in told.args[0]
    for own in ("run/fsc.csv", "particles.star"):
        assert (tmp_path / own).read_text() == "mine"
