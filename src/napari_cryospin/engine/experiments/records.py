"""What a run folder tells of its run, for a table, a tree or curves beside others."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.parent import read_parent
from napari_cryospin.engine.runfolder.standing import Doing, read_standing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.events import EpochDone
    from napari_cryospin.engine.runfolder.standing import Standing
    from napari_cryospin.engine.runfolder.verdict import Verdict
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import Inference


@dataclass(frozen=True)
class Span:
    """A stage, or a start of the first one, in a run's epochs: from ``begin`` to ``end``."""

    inference: Inference
    begin: float
    end: float


@dataclass(frozen=True)
class RunRecord:
    """What the folder of a run tells, without its particles.

    Parameters
    ----------
    folder
        The run folder.
    settings
        Its settings.
    history
        The figures of its epochs, those that it shares with its parent among them.
    standing
        How it stands.
    verdict
        What became of it; None before its end.
    parent
        The run folder that it branched off from, or None.
    shared
        How many of its epochs are its parent's.
    """

    folder: Path
    settings: Settings
    history: tuple[EpochDone, ...]
    standing: Standing
    verdict: Verdict | None
    parent: Path | None = None
    shared: int = 0

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def last(self) -> EpochDone | None:
        """The figures of the last epoch."""
        return self.history[-1] if self.history else None

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return self.standing.doing is Doing.FINISHED and not self.standing.resumable

    @property
    def own_seconds(self) -> float:
        """Seconds of the epochs that it trained itself."""
        return sum(done.seconds for done in self.history if done.epoch >= self.shared)

    @property
    def seconds(self) -> float:
        """Seconds of all its epochs, as if it had been run alone."""
        return sum(done.seconds for done in self.history)

    @property
    def held_out_gain(self) -> float | None:
        """Held-out gain, nats: the verdict's, or the last that was measured."""
        if self.verdict is not None and self.verdict.gain is not None:
            return self.verdict.gain
        measured = [done.held_out_gain for done in self.history if done.held_out_gain is not None]
        return measured[-1] if measured else None

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Its stages and starts so far, in order."""
        spans: list[Span] = []
        for _, group in itertools.groupby(self.history, key=lambda one: (one.stage, one.start)):
            epochs = list(group)
            begin = spans[-1].end if spans else float(epochs[0].epoch)
            spans.append(Span(epochs[0].inference, begin, epochs[-1].end))
        return tuple(spans)

    @property
    def switched_after(self) -> float | None:
        """Epochs of auto-encoding before the switch; None where it has not switched."""
        if not self.spans or not self.spans[0].inference.has_heads:
            return None
        other = next((span for span in self.spans if not span.inference.has_heads), None)
        return None if other is None else other.begin

    @cached_property
    def epochs_at(self) -> NDArray[np.float64]:
        """Where its epochs ended, in epochs of the run, (e,)."""
        return np.array([done.end for done in self.history], dtype=np.float64)

    @cached_property
    def seconds_at(self) -> NDArray[np.float64]:
        """When its epochs ended, in seconds of training, (e,)."""
        return np.cumsum([done.seconds for done in self.history], dtype=np.float64)


def read_record(folder: Path) -> RunRecord:
    """Read what a run folder tells.

    Raises
    ------
    InputError
        If it holds no run.
    """
    run = RunFolder(folder)
    settings, history = run.settings(), run.history()
    try:
        verdict = run.verdict()
    except InputError:
        verdict = None
    try:
        parent = read_parent(run)
    except InputError:
        # the run is shown as one of its own
        parent = None
    return RunRecord(
        Path(folder),
        settings,
        history,
        read_standing(run, settings, history),
        verdict,
        None if parent is None else parent.found_from(run.path) or parent.path,
        0 if parent is None else parent.epoch,
    )
