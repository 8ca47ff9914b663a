"""Reads the way of the chosen particle over the recorded epochs, off the main thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.gui.work.background import Background
from napari_cryospin.gui.work.resting_timer import RestingTimer

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.run.trajectories import TrajectoryReader
    from napari_cryospin.engine.runfolder.records import Trajectory
    from napari_cryospin.gui.explorer.state import Explorer

# wishes within this time are one, and reading rests this many times as long as it took
INTERVAL_MS = 200
_REST = 10


class TrailReader(QObject):
    """``ready`` carries the trajectory of the explorer's particle in the frame that it shows."""

    ready = Signal(object)

    def __init__(self, explorer: Explorer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self._folder: Path | None = None
        self._reader: TrajectoryReader | None = None
        self._background = Background(self)
        self._background.done.connect(self._on_read)
        # a trail is an extra: where a record cannot be read there is none
        self._background.failed.connect(explorer.message)
        self._timer = RestingTimer(INTERVAL_MS, _REST, self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._read)
        self._since = 0.0
        self._told: tuple[str, ...] = ()

    @Slot()
    def ask(self, *, soon: bool = False) -> None:
        """Ask for the trail of the present particle.

        ``soon`` does not wait for the turn that new epochs have.
        """
        if soon:
            self._timer.start(INTERVAL_MS)
        elif not self._timer.isActive():
            self._timer.start()

    @Slot()
    def _read(self) -> None:
        explorer, folder = self._explorer, self._explorer.session.folder
        if folder is None or not explorer.recorded:
            return
        particle = explorer.particle
        reference = explorer.recorded[-1] if explorer.epoch is None else explorer.epoch

        def task() -> Trajectory:
            return self._reader_of(folder).read(particle, reference)

        self._since = time.perf_counter()
        self._background.submit(task)

    @Slot(object)
    def _on_read(self, trail: Trajectory) -> None:
        self._timer.worked(time.perf_counter() - self._since)
        if trail.notes and trail.notes != self._told:
            self._explorer.message.emit(" ".join(trail.notes))
        self._told = trail.notes
        self.ready.emit(trail)

    def _reader_of(self, folder: Path) -> TrajectoryReader:
        """Return the reader of a run; used by the background's thread alone."""
        from napari_cryospin.engine.run.trajectories import TrajectoryReader
        from napari_cryospin.engine.runfolder.folder import RunFolder

        if self._reader is None or folder != self._folder:
            self._folder, self._reader = folder, TrajectoryReader(RunFolder(folder))
        return self._reader
