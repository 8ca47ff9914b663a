"""Who belongs, said of runs that have ended, without a run: each answer is that to its words."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.data.member import APART, BELONGS, OPEN
from napari_cryospin.engine.errors import InputError
from told_poses import told_poses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.gui.work.session import Session

LONG = 60_000


class Disk:
    """Where words are written, as slowly and as badly as a test wants it."""

    def __init__(self) -> None:
        self.go, self.written, self.fails = threading.Event(), list[tuple[str, dict]](), set[int]()
        self.asked = 0
        self.go.set()

    def say_later(self, folder: RunFolder, said: list[tuple[np.ndarray, int]]) -> None:
        number, self.asked = self.asked, self.asked + 1
        assert self.go.wait(60)
        if number in self.fails:
            raise InputError("The disk is full.")
        words = {row: word for rows, word in said for row in rows.tolist()}
        self.written.append((folder.path.name, words))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr("napari_cryospin.engine.run.said_later.say_later", disk.say_later)
    yield disk
    disk.go.set()


@pytest.fixture
def ended(session: Session, tmp_path: Path) -> Session:
    """A session that shows a run of six particles which has ended."""
    session.folder = tmp_path / "run"
    session._show_poses(told_poses(6, by_hand=np.zeros(6, np.int8)))
    return session


def said(session: Session) -> list[int]:
    return session.latest_poses.by_hand.tolist()


def test_a_failed_word_takes_back_no_other(qtbot: QtBot, ended: Session, disk: Disk) -> None:
    by_hand, told = ended.by_hand, list[str]()
    ended.message.connect(told.append)
    by_hand.say(np.array([0, 1]), APART)
    qtbot.waitUntil(lambda: len(told) == 1, timeout=LONG)
    disk.fails = {1}
    by_hand.say(np.array([1, 2]), BELONGS)
    qtbot.waitUntil(lambda: len(told) == 2, timeout=LONG)
    assert "disk is full" in told[1]
    assert said(ended) == [APART, APART, 0, 0, 0, 0]
    # what was saved can still be undone, and what failed is no step
    by_hand.undo()
    qtbot.waitUntil(lambda: len(disk.written) == 2, timeout=LONG)
    assert disk.written[1][1] == {0: OPEN, 1: OPEN}
    assert said(ended) == [0] * 6 and not by_hand.can_undo


def test_each_answer_is_that_to_its_own_words(qtbot: QtBot, ended: Session, disk: Disk) -> None:
    by_hand, told = ended.by_hand, list[str]()
    ended.message.connect(told.append)
    disk.go.clear()
    disk.fails = {0}
    by_hand.say(np.array([0, 1]), APART)
    by_hand.say(np.array([1, 2]), BELONGS)
    by_hand.say(np.array([3]), APART)
    assert said(ended) == [APART, BELONGS, BELONGS, APART, 0, 0]
    disk.go.set()
    qtbot.waitUntil(lambda: len(told) == 3, timeout=LONG)
    assert [words for _, words in disk.written] == [{1: BELONGS, 2: BELONGS}, {3: APART}]
    assert said(ended) == [0, BELONGS, BELONGS, APART, 0, 0]
    by_hand.undo()
    by_hand.undo()
    qtbot.waitUntil(lambda: len(told) == 5, timeout=LONG)
    # not what was said first, which was never saved
    assert said(ended) == [0] * 6 and not by_hand.can_undo


def test_what_could_not_be_undone_can_be_undone_again(
    qtbot: QtBot, ended: Session, disk: Disk
) -> None:
    by_hand, told = ended.by_hand, list[str]()
    ended.message.connect(told.append)
    by_hand.say(np.array([4]), APART)
    qtbot.waitUntil(lambda: len(told) == 1, timeout=LONG)
    disk.fails = {1}
    by_hand.undo()
    assert said(ended)[4] == OPEN
    qtbot.waitUntil(lambda: len(told) == 2, timeout=LONG)
    assert said(ended)[4] == APART and by_hand.can_undo


@pytest.mark.parametrize("fails", [set(), {0, 1}])
def test_a_late_answer_does_not_reach_the_next_run(
    qtbot: QtBot, ended: Session, disk: Disk, tmp_path: Path, fails: set[int]
) -> None:
    by_hand, told = ended.by_hand, list[str]()
    ended.message.connect(told.append)
    disk.go.clear()
    disk.fails = fails
    by_hand.say(np.array([0]), APART)
    by_hand.say(np.array([1]), APART)
    ended._reset()
    ended.folder = tmp_path / "other"
    disk.go.set()
    # nothing is told of the next run yet
    qtbot.waitUntil(lambda: disk.asked == 2, timeout=LONG)
    ended._show_poses(told_poses(3, by_hand=np.zeros(3, np.int8)))
    by_hand.say(np.array([2]), BELONGS)
    qtbot.waitUntil(lambda: len(told) == 1, timeout=LONG)
    # what was said of the run before is written all the same
    before = [] if fails else [("run", {0: APART}), ("run", {1: APART})]
    assert disk.written == [*before, ("other", {2: BELONGS})]
    assert said(ended) == [0, 0, BELONGS] and by_hand.can_undo


def test_who_is_left_to_the_program_is_what_it_found(
    qtbot: QtBot, session: Session, disk: Disk, tmp_path: Path
) -> None:
    """As a run is told that was opened: the first two were said by hand before."""
    session.folder, told = tmp_path / "run", list[str]()
    session.message.connect(told.append)
    found = np.array([0.9, 0.2, 0.7], np.float32)
    by_hand = np.array([APART, BELONGS, OPEN], np.int8)
    membership = np.array([0.0, 1.0, 0.7], np.float32)
    session._show_poses(
        told_poses(3, membership=membership, by_hand=by_hand, found_membership=found)
    )
    session.by_hand.say(np.array([0, 1]), OPEN)
    assert session.latest_poses.membership.tolist() == pytest.approx([0.9, 0.2, 0.7])
    qtbot.waitUntil(lambda: len(told) == 1, timeout=LONG)
    session.by_hand.say(np.array([2]), APART)
    session.by_hand.undo()
    qtbot.waitUntil(lambda: len(told) == 3, timeout=LONG)
    assert session.latest_poses.membership.tolist() == pytest.approx([0.9, 0.2, 0.7])


@pytest.mark.parametrize("word", [APART, BELONGS])
def test_of_a_record_what_is_taken_back_is_what_was_recorded(
    qtbot: QtBot, session: Session, disk: Disk, tmp_path: Path, word: int
) -> None:
    session.folder, told = tmp_path / "run", list[str]()
    session.message.connect(told.append)
    session._show_poses(told_poses(2, membership=np.array([0.4, 0.6], np.float32)))
    session.by_hand.say(np.array([1]), word)
    qtbot.waitUntil(lambda: len(told) == 1, timeout=LONG)
    session.by_hand.say(np.array([1]), OPEN)
    assert session.latest_poses.membership.tolist() == pytest.approx([0.4, 0.6])


def test_nothing_is_shown_again_where_nothing_was_told(session: Session) -> None:
    session.show_again()
    assert session.latest_poses is None
