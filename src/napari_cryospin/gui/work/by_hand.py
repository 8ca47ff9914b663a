"""What is said by hand of who belongs: given to the run, shown at once, and undone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.engine.data.member import APART, BELONGS, OPEN, overruled
from napari_cryospin.gui.work.background import Background
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.events import PosesUpdated
    from napari_cryospin.gui.work.session import Session

# steps that can be undone
_STEPS = 100
_WORDS = (BELONGS, APART, OPEN)
_ENDED = (SessionState.FINISHED, SessionState.STOPPED, SessionState.FAILED)
# nothing was asked for
_NOTHING = np.int8(2)

NO_RUN = "There is no run whose particles could be said to belong."
LATER = (
    "Said in the run's last checkpoint: exports, branches and the run itself, where it goes on, "
    "heed it; what it has written stays as it is."
)


@dataclass(eq=False)
class _Step:
    """What can be undone: particles (m,) of which something was said, and the words before (m,)."""

    particles: NDArray[np.int64]
    before: NDArray[np.int8]


@dataclass(eq=False)
class _Task:
    """Words that are written into the folder of a run which has ended: particles (m,) and word.

    Where that fails, ``steps`` can no longer be undone, and ``undone`` can be undone again.
    """

    folder: Path
    said: list[tuple[NDArray[np.int64], int]]
    steps: list[_Step] = field(default_factory=list)
    undone: _Step | None = None

    def __call__(self) -> None:
        from napari_cryospin.engine.run.said_later import say_later
        from napari_cryospin.engine.runfolder.folder import RunFolder

        say_later(RunFolder(self.folder), self.said)


class ByHand(QObject):
    """Who belongs by hand, as it was asked for in the window.

    A run takes a word between two batches, a paused one once it goes on. Until its poses tell of
    it, they are shown as they will be. Of a run that has ended, words are written into its folder,
    one task after the other, so that each answer is that to its own words.

    Parameters
    ----------
    session
        Where the run is, and what gives it the words.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._later = Background(self)
        self._later.done.connect(self._on_later)
        self._later.failed.connect(self._on_failed)
        # the first of them is under way
        self._tasks: list[_Task] = []
        self.forget()
        session.state_changed.connect(self._on_state)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._before)

    def forget(self) -> None:
        """Forget what was asked for: another run is looked at."""
        # what was said of the run before is still written; nobody waits for the answer
        for task in self._tasks[1:]:
            self._later.submit(task)
        self._later.drop()
        self._tasks.clear()
        self._told: PosesUpdated | None = None
        # words for a run under way that it has not told yet, and their steps
        self._asked: NDArray[np.int8] | None = None
        self._asked_steps: list[_Step] = []
        self._before: list[_Step] = []
        self.changed.emit()

    def say(self, particles: NDArray[np.int64], word: int) -> None:
        """Say of particles (m,) that they belong, are apart, or open."""
        poses = self._session.latest_poses
        if poses is None or self._session.folder is None:
            self._session.message.emit(NO_RUN)
            return
        step = _Step(particles, by_hand_of(poses)[particles])
        self._before = [*self._before[1 - _STEPS :], step]
        self._ask([(particles, word)], steps=[step])
        self.changed.emit()

    @Slot()
    def undo(self) -> None:
        """Take the last step back."""
        if not self.can_undo:
            return
        step = self._before.pop()
        words = [(step.particles[step.before == word], word) for word in _WORDS]
        self._ask([(rows, word) for rows, word in words if len(rows)], undone=step)
        self.changed.emit()

    def shown(self, told: PosesUpdated | None = None) -> PosesUpdated:
        """Return poses that the run tells, or has told last, as they will be by what was asked."""
        self._told = poses = told or self._told
        assert poses is not None
        n = len(poses.used)
        if self._asked is not None and len(self._asked) == n:
            asked = self._asked != _NOTHING
            if np.array_equal(by_hand_of(poses)[asked], self._asked[asked]):
                self._asked, self._asked_steps = None, []
        words = _words_of(n, [one for task in self._tasks for one in task.said])
        if self._asked is not None and len(self._asked) == n:
            words = np.where(self._asked != _NOTHING, self._asked, words)
        return _said_of(poses, words)

    @Slot(object)
    def _on_state(self, _state: object) -> None:
        folder = self._session.folder
        kept = folder is not None and folder.is_dir()
        if self._asked is not None and kept and self._session.state in _ENDED:
            # what the run did not take before it ended
            words = [(np.flatnonzero(self._asked == word), word) for word in _WORDS]
            steps, self._asked, self._asked_steps = self._asked_steps, None, []
            self._say_later([(rows, word) for rows, word in words if len(rows)], steps)
        self.changed.emit()

    def _ask(
        self,
        said: list[tuple[NDArray[np.int64], int]],
        steps: list[_Step] | None = None,
        undone: _Step | None = None,
    ) -> None:
        assert self._told is not None
        if not self._session.active:
            self._say_later(said, steps or [], undone)
            return
        if self._asked is None or len(self._asked) != len(self._told.used):
            self._asked, self._asked_steps = np.full(len(self._told.used), _NOTHING), []
        self._asked_steps.extend(steps or [])
        for particles, word in said:
            self._asked[particles] = word
            self._session.say(particles, word)

    def _say_later(
        self,
        said: list[tuple[NDArray[np.int64], int]],
        steps: list[_Step],
        undone: _Step | None = None,
    ) -> None:
        """Say it of the run in the folder, which this session does not run."""
        assert self._session.folder is not None
        self._tasks.append(_Task(self._session.folder, said, steps, undone))
        if len(self._tasks) == 1:
            self._later.submit(self._tasks[0])
        self._session.show_again()

    def _next_task(self) -> _Task:
        """Return the task that has ended, and begin the next."""
        ended = self._tasks.pop(0)
        if self._tasks:
            self._later.submit(self._tasks[0])
        return ended

    @Slot(object)
    def _on_later(self, _none: object) -> None:
        task = self._next_task()
        if self._told is not None:
            # the run tells nothing any more
            self._told = _said_of(self._told, _words_of(len(self._told.used), task.said))
        self._session.message.emit(LATER)

    @Slot(str)
    def _on_failed(self, sentence: str) -> None:
        task = self._next_task()
        for step in task.steps:
            self._take_out(step)
        if task.undone is not None:
            self._before.append(task.undone)
        self._session.message.emit(sentence)
        self._session.show_again()
        self.changed.emit()

    def _take_out(self, step: _Step) -> None:
        """Let a step that came to nothing be undone no more: what came after it began before it."""
        if step not in self._before:
            return
        place, particles, before = self._before.index(step), step.particles, step.before
        del self._before[place]
        for later in self._before[place:]:
            _, mine, theirs = np.intersect1d(particles, later.particles, return_indices=True)
            later.before[theirs] = before[mine]
            particles, before = np.delete(particles, mine), np.delete(before, mine)


def _words_of(n: int, said: list[tuple[NDArray[np.int64], int]]) -> NDArray[np.int8]:
    """Return the last word on each of n particles, (n,)."""
    words = np.full(n, _NOTHING)
    for particles, word in said:
        words[particles[particles < n]] = word
    return words


def _said_of(poses: PosesUpdated, words: NDArray[np.int8]) -> PosesUpdated:
    """Return poses of which something was said by hand, (n,)."""
    if (words == _NOTHING).all():
        return poses
    by_hand = np.where(words != _NOTHING, words, by_hand_of(poses))
    # who is left to the program is what it found, not what was said before
    found = poses.membership if poses.found_membership is None else poses.found_membership
    membership = overruled(found, by_hand)
    return replace(poses, membership=membership, by_hand=by_hand, found_membership=found)


def by_hand_of(poses: PosesUpdated) -> NDArray[np.int8]:
    """Return what poses tell that was said by hand, (n,)."""
    return np.full(len(poses.used), OPEN, np.int8) if poses.by_hand is None else poses.by_hand


def said_since(recorded: PosesUpdated, latest: PosesUpdated | None) -> PosesUpdated:
    """Return recorded poses with what is said of the same particles now: records know none of it.

    Who was said to belong, or not, by then and is open now stays as it was recorded.
    """
    if latest is None or len(latest.used) != len(recorded.used):
        return recorded
    by_hand = by_hand_of(latest)
    return _said_of(recorded, np.where(by_hand == OPEN, _NOTHING, by_hand))
