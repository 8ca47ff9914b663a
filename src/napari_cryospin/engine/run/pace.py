"""How long is left: of every phase by its own rate, and of none that has none yet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cryospin.engine.events import Progress

# the first batch of a stage waits for memory and compilers: this many are needed beside it
_FEWEST_BATCHES = 2
# share of the last batch in the mean
_NEWEST = 0.1
# steps that are few are not alike, and what has just begun has no rate
_FEWEST_STEPS, _LEAST_SECONDS = 10, 1.0


class StagePace:
    """The pace of the present stage, or start: of its batches, searches and ends of epochs.

    Parameters
    ----------
    now
        A clock, seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.begin_stage()

    def begin_stage(self) -> None:
        """Forget what was measured: another stage goes at another pace."""
        self._batches = 0
        self._per_image = self._search = self._end = 0.0
        self._mark = self._now()

    def rest(self, seconds: float) -> None:
        """Leave out a pause."""
        self._mark += seconds

    def mark(self) -> None:
        """Begin to measure: a search, the batches of an epoch, or the end of one."""
        self._mark = self._now()

    def searched(self) -> None:
        """Take the time since the mark as that of a search of poses."""
        self._search = self._now() - self._mark

    def trained(self, images: int) -> None:
        """Take the time since the last batch, or the mark, as that of a batch."""
        seconds = max(self._now() - self._mark, 1e-6) / images
        self._mark = self._now()
        self._batches += 1
        first = self._batches <= 2
        self._per_image = (
            seconds if first else self._per_image + _NEWEST * (seconds - self._per_image)
        )

    def ended(self) -> None:
        """Take the time since the last batch as that of the end of an epoch."""
        self._end = self._now() - self._mark

    @property
    def images_per_second(self) -> float:
        """Particles a second, smoothed over the last dozen batches."""
        return 1 / self._per_image

    def seconds_left(self, images: int, ends: int, searches: int) -> float | None:
        """Return the time that is left, or None where the pace is not known yet.

        Parameters
        ----------
        images, ends, searches
            How many particles are still to be trained on, ends of epochs and searches to come.
        """
        if self._batches <= _FEWEST_BATCHES:
            return None
        return images * self._per_image + ends * self._end + searches * self._search


class TaskPace:
    """How long is left of the work that :class:`~.events.Progress` tells of.

    Parameters
    ----------
    now
        A clock, seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._task, self._done = "", 0
        self._begun = 0.0, 0

    def seconds_left(self, event: Progress) -> float | None:
        """Return the time that is left of a task, or None where it has no rate yet."""
        if event.task != self._task or event.done < self._done or event.done == 0:
            self._task, self._begun = event.task, (self._now(), event.done)
        self._done = event.done
        seconds, done = self._now() - self._begun[0], event.done - self._begun[1]
        if event.total < _FEWEST_STEPS or done <= 0 or seconds < _LEAST_SECONDS:
            return None
        return max(event.total - event.done, 0) * seconds / done


def duration(seconds: float) -> str:
    """Return a time span in words, such as ``3 min 20 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
