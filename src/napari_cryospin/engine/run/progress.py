"""Progress events from work that reports by a callback."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

from napari_cryospin.engine.events import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Result = TypeVar("Result")


# seconds between two looks at whether the work is still wanted
_LOOK = 0.1


class Stopped(Exception):
    """The work was no longer wanted."""


def with_progress(
    task: str,
    work: Callable[[Callable[[int, int], None]], Result],
    stopped: Callable[[], bool] = lambda: False,
    *,
    patience: float = 5.0,
) -> Generator[Progress, None, Result]:
    """Run ``work`` in a thread, yield its progress, and return its result or raise its error.

    Parameters
    ----------
    task
        Name of the work, for the user.
    work
        Called with a function that takes how much is done and how much there is.
    stopped
        Whether the work is no longer wanted; it ends with its next report.
    patience
        So many seconds, at most, are waited for that: it may have to clear away what it has begun,
        and a process that ends with a thread of it in compiled code is aborted.

    Raises
    ------
    Stopped
        If the work was no longer wanted.
    """
    reports: queue.Queue[tuple[int, int] | None] = queue.Queue()
    results: list[Result] = []
    errors: list[BaseException] = []

    def report(done: int, total: int) -> None:
        if stopped():
            raise Stopped
        reports.put((done, total))

    def target() -> None:
        try:
            results.append(work(report))
        except BaseException as error:
            errors.append(error)
        finally:
            reports.put(None)

    thread = threading.Thread(target=target, name=task, daemon=True)
    thread.start()
    while True:
        if stopped():
            thread.join(patience)
            raise Stopped
        try:
            told = reports.get(timeout=_LOOK)
        except queue.Empty:
            continue
        if told is None:
            break
        yield Progress(task, *told)
    if errors:
        raise errors[0]
    return results[0]
