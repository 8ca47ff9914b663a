"""Reads the way of the chosen particle over the recorded epochs, off the main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.gui.work.background import Background

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.run.records import Trajectory
    from napari_cryospin.engine.run.trajectories import TrajectoryReader
    from napari_cryospin.gui.explorer.state import Explorer


class TrailReader(QObject):
    """``ready`` carries the trajectory of the explorer's particle in the frame that it shows."""

    ready = Signal(object)

    def __init__(self, explorer: Explorer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self._folder: Path | None = None
        self._reader: TrajectoryReader | None = None
        self._background = Background(self)
        self._background.done.connect(self.ready)
        # a trail is an extra: where a record cannot be read there is none
        self._background.failed.connect(explorer.message)

    @Slot()
    @Slot(object)
    def ask(self, _value: object = None) -> None:
        """Ask for the trail of the present particle; the answer to the last wish is heard."""
        explorer, folder = self._explorer, self._explorer.session.folder
        if folder is None or not explorer.recorded:
            return
        particle = explorer.particle
        reference = explorer.recorded[-1] if explorer.epoch is None else explorer.epoch

        def task() -> Trajectory:
            return self._reader_of(folder).read(particle, reference)

        self._background.submit(task)

    def _reader_of(self, folder: Path) -> TrajectoryReader:
        """Return the reader of a run; used by the background's thread alone."""
        from napari_cryospin.engine.run.folder import RunFolder
        from napari_cryospin.engine.run.trajectories import TrajectoryReader

        if self._reader is None or folder != self._folder:
            self._folder, self._reader = folder, TrajectoryReader(RunFolder(folder))
        return self._reader
