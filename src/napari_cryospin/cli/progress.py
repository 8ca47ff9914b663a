"""A run in the terminal: progress bars, or plain lines where nobody watches."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from napari_cryospin.engine import events
from napari_cryospin.engine.experiments import events as experiments
from napari_cryospin.engine.run.pace import TaskPace, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def task_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes how much is done and the total, and draws a bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    console = _console()
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


class _Rate(ProgressColumn):
    """How much is done in a second, as of late."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


def _console() -> Console:
    return Console(stderr=True)


class Follower:
    """Prints the events of a run: a line an epoch, and a bar while an epoch is under way."""

    def __init__(self) -> None:
        console = _console()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._pace = TaskPace()
        self._task: TaskID = self._bars.add_task("Starting", total=None, note="")

    def __enter__(self) -> Follower:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, event: events.Event) -> None:
        """Show one event."""
        match event:
            case events.RunStarted():
                self._started(event)
            case events.Progress():
                left = self._pace.seconds_left(event)
                self._bar(event.task, event.done, event.total, _left(left))
            case events.EpochStarted():
                self._bar(_epoch(event), 0, 0, "")
            case events.BatchDone():
                self._batch(event)
            case events.Paused():
                self._bar("Paused", 0, 0, "")
            case events.Switched() | events.CommandMissed() | events.Rescheduled():
                self.line(event.sentence())
            case events.EpochDone():
                self.line(epoch_line(event))
            case events.Finished():
                self._finished(event)

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self._bars.console.print(text, highlight=False, soft_wrap=True)

    def _bar(self, name: str, done: int, total: int, note: str) -> None:
        # a total that is not known is shown by a bar that swings
        self._bars.update(
            self._task, description=name, completed=done, total=total or None, note=note
        )

    def _started(self, event: events.RunStarted) -> None:
        self.line(
            f"{event.n_particles} particles of {event.box} px, {event.pixel_size:.4g} Å/px · "
            f"{f'{event.n_heads} heads · ' if event.n_heads else ''}"
            f"seed {event.seed} · {event.device}"
        )
        for note in event.notes:
            self.line(f"Note: {note}")

    def _batch(self, event: events.BatchDone) -> None:
        left = event.seconds_left
        parts = (
            f"{event.images_per_second:,.0f} images/s",
            "" if left is None else f"this stage: ≤ {duration(left)}",
            f"loss {event.loss:.4g}",
        )
        self._bar(_epoch(event), event.batch, event.n_batches, " · ".join(filter(None, parts)))

    def _finished(self, event: events.Finished) -> None:
        if not event.results:
            self.line(event.sentence())
            return
        if event.before:
            self.line("The run had finished already: nothing was left to do.")
        self.line(f"Map and poses are in {event.folder}")
        if halves := event.halves_sentence():
            self.line(halves)
        if event.verdict is not None:
            self.line(f"Verdict: {event.verdict.outcome}")
            for reason in event.verdict.sentences:
                self.line(f"  {reason}")


class ExperimentFollower(Follower):
    """Prints the events of an experiment: a line a cell, and a bar for the present one."""

    def __init__(self) -> None:
        super().__init__()
        self._where = ""
        self._left = ""
        self._told: set[str] = set()

    def show(self, event: events.Event) -> None:
        """Show one event."""
        match event:
            case experiments.ExperimentStarted() | experiments.ExperimentFinished():
                self.line(event.sentence())
            case experiments.CellStarted():
                self._where = f"cell {event.number} of {event.of}"
                self.line(event.sentence())
                self._bar(self._where, 0, 0, "")
            case experiments.CellProgress():
                left = event.seconds_left
                self._left = "" if left is None else f"experiment: {_left(left)}"
                self._bar(self._where, event.epoch, event.n_epochs, self._left)
            case experiments.CellEvent(event=events.RunStarted() as started):
                # the same of every cell, and a branch is told of already
                for note in started.notes:
                    if note not in self._told and not note.startswith("A branch of "):
                        self._told.add(note)
                        self.line(f"Note: {note}")
            case experiments.CellEvent(event=events.BatchDone() as batch):
                words = f"{self._where} · {_epoch(batch)}"
                self._bar(words, batch.batch, batch.n_batches, self._left)
            case experiments.CellEvent(event=events.Progress() as progress):
                words = f"{self._where} · {progress.task}"
                self._bar(words, progress.done, progress.total, self._left)
            case experiments.CellDone():
                self.line(event.result.sentence())


def _epoch(event: events.EpochStarted | events.BatchDone) -> str:
    return f"{event.inference.label} · epoch {event.epoch + 1}"


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"about {duration(seconds)} left"


def epoch_line(done: events.EpochDone) -> str:
    """Return the figures of an epoch in a line."""
    parts = [f"epoch {done.epoch + 1:3d}", done.inference.label, f"loss {done.loss:.4f}"]
    if done.inference.has_heads:
        shares = " ".join(f"{100 * share:.0f}" for share in done.head_share)
        parts.append(f"heads {shares} %")
        if done.effective_heads is not None:
            parts.append(f"{done.effective_heads:.1f} effective")
    if done.held_out_gain is not None:
        parts.append(f"held-out gain {done.held_out_gain:.2f} nats")
    if done.outliers is not None:
        parts.append(f"{100 * done.outliers:.0f} % outliers")
    if done.median_pose_error is not None and done.mean_pose_error is not None:
        parts.append(
            f"pose error {done.median_pose_error:.2f}° median {done.mean_pose_error:.2f}° mean"
        )
    if done.resolution_halves is not None:
        parts.append(f"halves {done.resolution_halves:.2f} Å")
    if done.resolution is not None:
        parts.append(f"{done.resolution:.2f} Å")
    return " · ".join((*parts, f"{done.seconds:.1f} s"))
