"""Signals: a run ends in order, and nothing is left half written."""

from __future__ import annotations

import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import typer

from napari_cryospin.engine.run.controls import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import FrameType

    from napari_cryospin.engine.events import Event
    from napari_cryospin.engine.run.controls import Controls

# what shells give for a program that a signal has ended
_BY_SIGNAL = 128
_HURRIED = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Caught:
    """The signal that ended the work; ``code`` is the exit code that goes with it, 0 without."""

    code = 0


def shown_to_the_end(
    stream: Generator[Event, None, None], show: Callable[[Any], None]
) -> Event | None:
    """Show what a stream tells until it ends, or a signal interrupts it; return the last of it.

    What is interrupted changes no state: it can be resumed from its last checkpoint.
    """
    told: Event | None = None
    try:
        for told in stream:
            show(told)
    except Interrupted:
        pass
    finally:
        stream.close()
    return told


@contextmanager
def obeyed(
    controls: Controls, tell: Callable[[str], None], *, results: bool = True
) -> Iterator[Caught]:
    """Let signals end a run: Ctrl-C with results, the others with a checkpoint alone.

    A second Ctrl-C aborts.

    Parameters
    ----------
    controls
        Commands to the run.
    tell
        Is given a sentence for the user.
    results
        False lets Ctrl-C, too, end it with a checkpoint alone.
    """
    caught = Caught()

    def stop(number: int, _frame: FrameType | None) -> None:
        caught.code = _BY_SIGNAL + number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            controls.stop(keep=True) if results else controls.stop(results=False)
            say("Stopping after this batch; what is done is kept …")
            return
        controls.stop(results=False)
        say("Ending after this batch; the run can be resumed …")
        if controls.interruptible:
            raise Interrupted

    def say(sentence: str) -> None:
        # the signal may have come in the midst of a line that is being written
        with suppress(RuntimeError):
            tell(sentence)

    with _handled(stop):
        yield caught


@contextmanager
def cleaned_up() -> Iterator[None]:
    """Let signals end other work by an exception, so that its temporary files are removed."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise typer.Exit(_BY_SIGNAL + number)

    with _handled(end):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    numbers = [signal.SIGINT]
    # who ignores them, as nohup does, has a reason
    numbers += [each for each in _HURRIED if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
