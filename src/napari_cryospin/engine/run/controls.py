"""Commands to a running reconstruction: flags that it reads between batches."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.member import APART, BELONGS, OPEN
from napari_cryospin.engine.stages import MOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from napari_cryospin.engine.switch_at import SwitchAt

# a map from fewer particles has no halves
_FEWEST = 2


class Interrupted(BaseException):
    """Raised by a signal's handler in work that may be left at any point; see :class:`Controls`."""


class Controls:
    """Thread-safe commands; every method may be called from any thread at any time.

    A command takes effect at the next batch boundary. Commands are flags, not a queue: pressing a
    button twice means the same as pressing it once. Of two choices of particles, two words on
    whether one belongs, or two ends of the stage, the latest wins.
    """

    def __init__(self) -> None:
        self._running = threading.Event()
        self._running.set()
        self._switch = threading.Event()
        self._stop = threading.Event()
        self._keep = self._results = True
        self._interruptible = False
        self._used: deque[NDArray[np.bool_]] = deque(maxlen=1)
        self._said: deque[tuple[NDArray[np.int64], int]] = deque()
        self._schedule: deque[SwitchAt | None] = deque(maxlen=1)

    def pause(self) -> None:
        """Let training rest after the present batch."""
        self._running.clear()

    def resume(self) -> None:
        """Let a paused training go on."""
        self._running.set()

    def switch(self) -> None:
        """End the present stage, or start, after the present batch: the next one begins."""
        self._switch.set()

    def set_switch(self, at: SwitchAt | None) -> None:
        """Have the present stage end otherwise; in the last stage that changes nothing.

        Parameters
        ----------
        at
            After so many epochs of the stage (and start), the present one at least; "auto": by its
            criterion; "never": only by hand. None: as the settings of the run say.

        Raises
        ------
        ValueError
            If it is none of these; what was said before stays.
        """
        if isinstance(at, int) and not 1 <= at <= MOST:
            raise ValueError(f"A stage has 1 to {MOST} epochs, not {at}.")
        if isinstance(at, str) and at not in ("auto", "never"):
            raise ValueError(f"A stage ends after a number of epochs, auto or never, not '{at}'.")
        self._schedule.append(at)

    def set_used(self, used: NDArray[np.bool_] | None) -> None:
        """Use only these particles from the next epoch on, and in the results.

        Parameters
        ----------
        used
            True where the particle is used, (n,); None for all of them.

        Raises
        ------
        ValueError
            If fewer than two particles remain; the choice before stays.
        """
        chosen = np.array(True if used is None else used, dtype=bool)
        if used is not None and np.count_nonzero(chosen) < _FEWEST:
            raise ValueError(f"At least {_FEWEST} particles must remain in use.")
        self._used.append(chosen)

    def say(self, particles: ArrayLike, said: int) -> None:
        """Say of particles whether they show the molecule, from the next batch on.

        Parameters
        ----------
        particles
            Their rows among the particles in use, from 0, (m,).
        said
            BELONGS, APART, or OPEN: the program finds it out
            (:mod:`~napari_cryospin.engine.data.member`).

        Raises
        ------
        ValueError
            If these are no rows, or it is none of the three.
        """
        rows = np.atleast_1d(np.asarray(particles))
        if rows.ndim != 1 or not (np.issubdtype(rows.dtype, np.integer) or not rows.size):
            raise ValueError("Particles are given by the numbers of their rows.")
        if (rows < 0).any():
            raise ValueError("Rows of particles count from 0.")
        if said not in (BELONGS, APART, OPEN):
            raise ValueError(
                f"Particles belong (1), do not (-1), or are left open (0), not {said}."
            )
        self._said.append((rows.astype(np.int64), said))

    def stop(self, *, keep: bool = True, results: bool = True) -> None:
        """End the run after the present batch, paused or not.

        Parameters
        ----------
        keep
            True writes the checkpoint, the maps and the poses; False removes what the run has
            written ("discard").
        results
            False writes the checkpoint alone, for an end that is in a hurry.
        """
        self._keep, self._results = keep, results
        self._stop.set()
        self._running.set()

    @property
    def paused(self) -> bool:
        """Whether a pause was asked for."""
        return not self._running.is_set()

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop.is_set()

    @property
    def keep(self) -> bool:
        """Whether what was computed is to be kept on stopping."""
        return self._keep

    @property
    def results(self) -> bool:
        """Whether maps and poses are to be written on stopping."""
        return self._keep and self._results

    @property
    def interruptible(self) -> bool:
        """Whether the run does work that changes no state: it may be left by an exception."""
        return self._interruptible

    @contextmanager
    def may_interrupt(self) -> Iterator[None]:
        """Let a signal's handler raise :class:`Interrupted` within: nothing is half done by it."""
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def take_switch(self) -> bool:
        """Return whether a switch was asked for, once."""
        asked = self._switch.is_set()
        self._switch.clear()
        return asked

    def take_used(self) -> NDArray[np.bool_] | None:
        """Return the latest choice of particles, (n,) or a single True for all, once; or None."""
        try:
            return self._used.popleft()
        except IndexError:
            return None

    def take_said(self) -> list[tuple[NDArray[np.int64], int]]:
        """Return what :meth:`say` was told since, in order, once."""
        said = []
        with suppress(IndexError):
            while True:
                said.append(self._said.popleft())
        return said

    def take_schedule(self) -> tuple[SwitchAt | None] | None:
        """Return what :meth:`set_switch` was told last, once; or None."""
        try:
            return (self._schedule.popleft(),)
        except IndexError:
            return None

    def wait_while_paused(self) -> None:
        """Block until :meth:`resume` or :meth:`stop`."""
        self._running.wait()
