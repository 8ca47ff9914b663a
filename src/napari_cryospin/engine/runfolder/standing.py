"""How a run stands that another process writes, or has written: what its folder alone tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.clock import Clock
from napari_cryospin.engine.runfolder.lock import writer_of
from napari_cryospin.engine.runfolder.place import Holds, has_results, what_is_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cryospin.engine.events import EpochDone
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.settings import Settings


class Doing(Enum):
    """What has become of a run so far."""

    WRITTEN = "being written"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Standing:
    """How far a run has come, and whether anybody goes on with it.

    Parameters
    ----------
    doing
        Whether a process writes it, or how it ended; a run that was killed has stopped.
    epochs, n_epochs
        Epochs done, and how many there will have been at its end, at most.
    resumable
        Whether it can be gone on with: nobody writes it, and something is left to do.
    message
        What a failed run said at its end.
    """

    doing: Doing
    epochs: int
    n_epochs: int
    resumable: bool
    message: str = ""

    @property
    def progress(self) -> str:
        """How many epochs are done, in a few words."""
        if self.epochs == 0:
            written = self.doing is Doing.WRITTEN
            return "waiting for the first epoch" if written else "no epoch yet"
        if self.doing is Doing.FINISHED:
            return "all epochs done"
        return f"{self.epochs} of ≤ {self.n_epochs} epochs"

    def sentence(self) -> str:
        """Return how the run stands, for the user."""
        if self.doing is Doing.WRITTEN:
            if self.epochs == 0:
                return "Waiting for the first epoch: another process writes this run."
            return "Another process writes this run: it is followed."
        if self.doing is Doing.FINISHED and not self.resumable:
            return f"Finished after epoch {self.epochs}."
        after = f"epoch {self.epochs} of ≤ {self.n_epochs}"
        if self.epochs == 0:
            after = "less than an epoch"
        if self.doing is Doing.FAILED and self.message:
            return f"Failed after {after}: {self.message}"
        what = "can be resumed" if self.resumable else "holds no checkpoint to resume from"
        return f"{self.doing.value.capitalize()} after {after}: it {what}."


def read_standing(
    folder: RunFolder, settings: Settings, history: Sequence[EpochDone] = ()
) -> Standing:
    """Return how a run stands.

    Parameters
    ----------
    folder
        The run folder.
    settings
        Settings of the run.
    history
        Its epochs so far, in order.
    """
    clock = _clock_after(history, settings)
    n_epochs = max(clock.n_epochs(settings), clock.epoch)
    # asked first: what a writer says at its end is there once it has gone
    if writer_of(folder.path) is not None:
        return Standing(Doing.WRITTEN, clock.epoch, n_epochs, resumable=False)
    last = folder.last_event() or {}
    resumable = what_is_in(folder.path) in (Holds.RUN, Holds.BEGINNING)
    if last.get("event") == "Finished" and last.get("stopped") is False:
        # its last stage may have been given more epochs since
        more = settings.stages[clock.stage].until == "epochs" and n_epochs > clock.epoch
        whole = not more and has_results(folder.path) and _has_verdict(folder)
        return Standing(Doing.FINISHED, clock.epoch, clock.epoch, resumable and not whole)
    if last.get("event") == "Failed":
        message = str(last.get("message", ""))
        return Standing(Doing.FAILED, clock.epoch, n_epochs, resumable, message)
    return Standing(Doing.STOPPED, clock.epoch, n_epochs, resumable)


def _clock_after(history: Sequence[EpochDone], settings: Settings) -> Clock:
    """Return where a run is after its epochs."""
    if not history:
        return Clock()
    last = history[-1]
    here = [done for done in history if (done.stage, done.start) == (last.stage, last.start)]
    # settings.toml may have been changed
    stage = min(last.stage, len(settings.stages) - 1)
    return Clock(last.epoch + 1, stage=stage, stage_epoch=len(here), start=last.start)


def _has_verdict(folder: RunFolder) -> bool:
    try:
        return folder.verdict() is not None
    except InputError:
        return False
