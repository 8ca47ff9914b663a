"""Making branches of a run in the background, and running them when no other run is under way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Slot

from napari_cryospin.gui.work.background import Background

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.events import EpochDone
    from napari_cryospin.gui.work.session import Session


@dataclass(frozen=True)
class Wish:
    """A branch that somebody wants; the names are those of :func:`.branching.make_branch`.

    ``starts`` says whether it is to be run: at once, or when the run under way has ended. With
    ``symmetrise`` it goes on from the end of the run with a point group, whatever else is said.
    """

    run: Path
    at: int
    out: Path
    switch_at: Any = None
    changes: dict[str, Any] = field(default_factory=dict)
    switch_back: bool = False
    starts: bool = True
    symmetrise: str | None = None


@dataclass(frozen=True)
class _Made:
    """A branch that is there, and its epochs so far."""

    wish: Wish
    history: tuple[EpochDone, ...]


class Brancher(QObject):
    """Makes branches one after the other; what becomes of each is told by the session's message.

    Parameters
    ----------
    session
        Runs the branches. A run that is under way goes on undisturbed: branches wait for its end.
    """

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._wished: deque[Wish] = deque()
        self._waiting: deque[_Made] = deque()
        self._background = Background(self)
        self._background.done.connect(self._on_made)
        self._background.failed.connect(self._on_failed)
        session.finished.connect(self._on_ended)
        session.failed.connect(self._on_ended)

    @property
    def waiting(self) -> tuple[Path, ...]:
        """Branches that begin when the run under way has ended, in order."""
        return tuple(made.wish.out for made in self._waiting)

    def make(self, wish: Wish) -> None:
        """Make a branch in the background."""
        self._session.message.emit(f"Making the branch {wish.out.name} …")
        self._wished.append(wish)
        if len(self._wished) == 1:
            self._submit()

    def _submit(self) -> None:
        wish = self._wished[0]

        def task() -> _Made:
            from napari_cryospin.engine.run.branching import make_branch
            from napari_cryospin.engine.run.symmetrising import make_symmetrised
            from napari_cryospin.engine.runfolder.folder import RunFolder

            if wish.symmetrise is not None:
                make_symmetrised(wish.run, wish.symmetrise, wish.out)
            else:
                make_branch(
                    wish.run,
                    wish.at,
                    wish.out,
                    switch_at=wish.switch_at,
                    changes=wish.changes,
                    switch_back=wish.switch_back,
                )
            return _Made(wish, RunFolder(wish.out).history())

        self._background.submit(task)

    def _next(self) -> None:
        self._wished.popleft()
        if self._wished:
            self._submit()

    @Slot(object)
    def _on_made(self, made: _Made) -> None:
        said, session = f"The branch is in {made.wish.out}", self._session
        self._next()
        if not made.wish.starts:
            session.message.emit(f"{said}: open it to run it, or resume it in a terminal.")
        elif session.active:
            self._waiting.append(made)
            session.message.emit(f"{said}: it begins when the run under way has ended.")
        else:
            session.resume_run(made.wish.out, made.history)

    @Slot(str)
    def _on_failed(self, sentence: str) -> None:
        self._session.message.emit(sentence)
        self._next()

    @Slot(object)
    def _on_ended(self, _last: object) -> None:
        # after all others have heard of the end
        if self._waiting:
            QTimer.singleShot(0, self._start_next)

    @Slot()
    def _start_next(self) -> None:
        if self._waiting and not self._session.active:
            made = self._waiting.popleft()
            self._session.resume_run(made.wish.out, made.history)
