from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_cryospin.gui.work.saving import ask_where

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

KINDS = "PNG (*.png);;SVG (*.svg)"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Questions that were asked; each is answered with no."""
    questions: list[str] = []

    def question(_parent: QWidget, _title: str, text: str, *_: object) -> object:
        questions.append(text)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", question)
    return questions


def answers(monkeypatch: pytest.MonkeyPatch, name: str, kind: str = "") -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (name, kind))


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("a.svg", "PNG (*.png)", "a.svg"),
        ("a", "SVG (*.svg)", "a.svg"),
        ("a", "", "a.png"),
        ("a b", "Tables (*.csv *.txt)", "a b.csv"),
    ],
)
def test_a_suffix_that_was_left_out_is_added(
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: list[str],
    name: str,
    kind: str,
    expected: str,
) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    answers(monkeypatch, str(tmp_path / name), kind)
    assert ask_where(widget, "Save", "a.png", KINDS) == tmp_path / expected
    assert not asked


def test_what_the_added_suffix_would_replace_is_asked_about(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    (tmp_path / "a.png").write_text("mine")
    answers(monkeypatch, str(tmp_path / "a"), "PNG (*.png)")
    assert ask_where(widget, "Save", "a.png", KINDS) is None
    assert len(asked) == 1 and "Replace it?" in asked[0]


def test_nothing_chosen_is_nothing(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    answers(monkeypatch, "")
    assert ask_where(widget, "Save", "a.png", KINDS) is None
