"""Progress events from work that reports by a callback."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

from napari_cryospin.engine.run.events import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Result = TypeVar("Result")


def with_progress(
    task: str, work: Callable[[Callable[[int, int], None]], Result]
) -> Generator[Progress, None, Result]:
    """Run ``work`` in a thread, yield its progress, and return its result or raise its error.

    Parameters
    ----------
    task
        Name of the work, for the user.
    work
        Called with a function that takes how much is done and how much there is.
    """
    reports: queue.Queue[tuple[int, int] | None] = queue.Queue()
    results: list[Result] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work(lambda done, total: reports.put((done, total))))
        except BaseException as error:
            errors.append(error)
        finally:
            reports.put(None)

    threading.Thread(target=target, name=task, daemon=True).start()
    while (report := reports.get()) is not None:
        yield Progress(task, *report)
    if errors:
        raise errors[0]
    return results[0]
