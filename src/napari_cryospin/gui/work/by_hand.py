"""What is said by hand of who belongs: given to the run, shown at once, and undone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.engine.data.member import APART, BELONGS, OPEN, overruled
from napari_cryospin.gui.work.background import Background
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
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


class ByHand(QObject):
    """Who belongs by hand, as it was asked for in the window.

    A run takes a word between two batches, a paused one once it goes on. Until its poses tell of
    it, they are shown as they will be.

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
        self.forget()
        session.state_changed.connect(self._on_state)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._before)

    def forget(self) -> None:
        """Forget what was asked for: another run is looked at."""
        self._told: PosesUpdated | None = None
        self._asked: NDArray[np.int8] | None = None
        self._before: list[tuple[NDArray[np.int64], NDArray[np.int8]]] = []
        self.changed.emit()

    def say(self, particles: NDArray[np.int64], word: int) -> None:
        """Say of particles (m,) that they belong, are apart, or open."""
        poses = self._session.latest_poses
        if poses is None or self._session.folder is None:
            self._session.message.emit(NO_RUN)
            return
        before = by_hand_of(poses)[particles]
        self._before = [*self._before[1 - _STEPS :], (particles, before)]
        self._ask(particles, word)
        self.changed.emit()

    @Slot()
    def undo(self) -> None:
        """Take the last step back."""
        if not self.can_undo:
            return
        particles, before = self._before.pop()
        for word in _WORDS:
            some = particles[before == word]
            if len(some):
                self._ask(some, word)
        self.changed.emit()

    def shown(self, told: PosesUpdated | None = None) -> PosesUpdated:
        """Return poses that the run tells, or has told last, as they will be by what was asked."""
        self._told = poses = told or self._told
        assert poses is not None
        if self._asked is None or len(self._asked) != len(poses.used):
            return poses
        asked, said = self._asked != _NOTHING, by_hand_of(poses)
        if np.array_equal(said[asked], self._asked[asked]):
            self._asked = None
            return poses
        by_hand = np.where(asked, self._asked, said)
        return replace(poses, membership=overruled(poses.membership, by_hand), by_hand=by_hand)

    @Slot(object)
    def _on_state(self, _state: object) -> None:
        folder = self._session.folder
        kept = folder is not None and folder.is_dir()
        if self._asked is not None and kept and self._session.state in _ENDED:
            # what the run did not take before it ended
            words = [(np.flatnonzero(self._asked == word), word) for word in _WORDS]
            self._say_later([(rows, word) for rows, word in words if len(rows)])
        self.changed.emit()

    def _ask(self, particles: NDArray[np.int64], word: int) -> None:
        assert self._told is not None
        if self._asked is None or len(self._asked) != len(self._told.used):
            self._asked = np.full(len(self._told.used), _NOTHING)
        self._asked[particles] = word
        self._session.say(particles, word)
        if not self._session.active:
            self._say_later([(particles, word)])

    def _say_later(self, said: list[tuple[NDArray[np.int64], int]]) -> None:
        """Say it of the run in the folder, which this session does not run."""
        folder = self._session.folder

        def task() -> None:
            from napari_cryospin.engine.run.said_later import say_later
            from napari_cryospin.engine.runfolder.folder import RunFolder

            assert folder is not None
            say_later(RunFolder(folder), said)

        self._later.submit(task)

    @Slot(object)
    def _on_later(self, _none: object) -> None:
        self._session.message.emit(LATER)

    @Slot(str)
    def _on_failed(self, sentence: str) -> None:
        self._asked, self._before = None, []
        self._session.message.emit(sentence)
        self._session.show_again()
        self.changed.emit()


def by_hand_of(poses: PosesUpdated) -> NDArray[np.int8]:
    """Return what poses tell that was said by hand, (n,)."""
    return np.full(len(poses.used), OPEN, np.int8) if poses.by_hand is None else poses.by_hand
