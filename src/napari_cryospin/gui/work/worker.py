"""The reconstruction's thread: it iterates the engine and passes events on."""

from __future__ import annotations

import traceback
from collections import deque
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.engine.allocator import give_back
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.events import (
    BatchDone,
    Event,
    Failed,
    Finished,
    PosesUpdated,
    RunStarted,
    VolumeUpdated,
)
from napari_cryospin.gui.work.mailbox import Mailbox

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.run.controls import Controls
    from napari_cryospin.engine.run.truth import Truth
    from napari_cryospin.engine.runfolder.standing import Standing
    from napari_cryospin.engine.settings import Settings


def hurry(controls: Controls) -> None:
    """End a run with a checkpoint alone: its window is gone. What was discarded stays so."""
    controls.stop(keep=controls.keep, results=False)


class ReconstructionWorker(QObject):
    """Runs one reconstruction; move it to a thread and connect the thread's start to :meth:`run`.

    States of map, poses and batch go into mailboxes, where the latest wins; every other event is
    sent by :attr:`happened`. Exactly one :attr:`ended` closes the stream.

    Parameters
    ----------
    settings
        Settings of a new run, or None to resume the run in ``folder``.
    folder
        The run folder.
    controls
        Commands to the run.
    """

    happened = Signal(object)
    ended = Signal(object)

    def __init__(self, settings: Settings | None, folder: Path, controls: Controls) -> None:
        super().__init__()
        self.settings, self._folder, self._controls = settings, folder, controls
        self.volume: Mailbox[VolumeUpdated] = Mailbox()
        self.poses: Mailbox[PosesUpdated] = Mailbox()
        self.batch: Mailbox[BatchDone] = Mailbox()
        self.losses: deque[BatchDone] = deque()
        self.particles: Particles | None = None
        self.truth: Truth | None = None
        self.standing: Standing | None = None

    @Slot()
    def run(self) -> None:
        """Iterate the reconstruction to its end, whatever happens."""
        last = self._iterate()
        if not isinstance(last, Finished | Failed):
            last = Failed("The run ended without a word: look at its events.jsonl.", "")
        self.standing = self._standing()
        # what the run has held is free now
        give_back()
        self.ended.emit(last)

    def _iterate(self) -> Event | None:
        """Pass the run's events on, and return the last one."""
        last: Event | None = None
        try:
            # torch is imported here, off the main thread
            from napari_cryospin.engine.run.reconstruction import Reconstruction

            if self.settings is None:
                reconstruction = Reconstruction.resume(self._folder, self._controls)
            else:
                reconstruction = Reconstruction(self.settings, self._folder, self._controls)
            for event in reconstruction.run():
                if isinstance(event, RunStarted):
                    self.particles, self.truth = reconstruction.particles, reconstruction.truth
                    self.settings = reconstruction.settings
                last = event
                self._pass_on(event)
        except InputError as error:
            return Failed(str(error), traceback.format_exc(), bad_input=True)
        except Exception as error:
            from napari_cryospin.engine.failures import tell

            said = tell(error, self._folder)
            return Failed(said.message, traceback.format_exc(), said.bad_input)
        return last

    def _standing(self) -> Standing | None:
        """Return how the run stands in its folder, where it has one."""
        from napari_cryospin.engine.runfolder.folder import RunFolder
        from napari_cryospin.engine.runfolder.standing import read_standing

        folder = RunFolder(self._folder)
        try:
            return read_standing(folder, folder.settings(), folder.history())
        except (InputError, OSError):
            return None

    def _pass_on(self, event: Event) -> None:
        match event:
            case VolumeUpdated():
                self.volume.put(event)
            case PosesUpdated():
                self.poses.put(event)
            case BatchDone():
                self.losses.append(event)
                self.batch.put(event)
            case Finished() | Failed():
                pass
            case _:
                self.happened.emit(event)
