"""Work in pieces, with turns of the event loop between them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

from napari_cryospin.gui.work.one_by_one import OneByOne

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

LONG = 10_000


def test_the_event_loop_has_its_turn_between_pieces(qtbot: QtBot) -> None:
    owner, done = QObject(), list[str]()
    pieces = OneByOne(owner, first_ms=0)
    ticker = QTimer(owner)
    ticker.timeout.connect(lambda: done.append("."))
    ticker.start(1)
    for name in "ab":
        pieces.add(partial(done.append, name))
    pieces.add_next(partial(done.append, "first"))
    assert done == []
    qtbot.waitUntil(lambda: "b" in done, timeout=LONG)
    assert [name for name in done if name != "."] == ["first", "a", "b"]
    assert "." in done[done.index("a") : done.index("b")]


def test_what_waits_is_not_asked_for_twice(qtbot: QtBot) -> None:
    owner, done = QObject(), list[str]()
    pieces = OneByOne(owner)

    def piece() -> None:
        done.append("piece")

    pieces.add(piece)
    pieces.add(piece)
    qtbot.wait(300)
    pieces.add(piece)
    qtbot.waitUntil(lambda: len(done) == 2, timeout=LONG)
    pieces.add(piece)
    pieces.forget()
    qtbot.wait(300)
    assert len(done) == 2


def test_a_piece_that_fails_does_not_keep_the_others_away(qtbot: QtBot) -> None:
    owner, done = QObject(), list[str]()
    pieces = OneByOne(owner)
    pieces.add(lambda: 1 / 0)
    pieces.add(partial(done.append, "other"))
    with qtbot.captureExceptions() as caught:
        qtbot.waitUntil(lambda: done == ["other"], timeout=LONG)
    assert [kind for kind, _, _ in caught] == [ZeroDivisionError]


def test_nothing_is_done_once_the_owner_is_gone(qtbot: QtBot) -> None:
    owner, done = QObject(), list[str]()
    OneByOne(owner).add(partial(done.append, "late"))
    with qtbot.waitSignal(owner.destroyed, timeout=LONG):
        owner.deleteLater()
    qtbot.wait(200)
    assert done == []
