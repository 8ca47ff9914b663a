"""The sample: a small simulated stack of a made-up molecule, in a temporary folder."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.engine.data.simulated_names import TABLE
from napari_cryospin.gui.work.background import Background


class Simulation(QObject):
    """Simulates the sample's stack off the main thread, and says how far it is.

    ``done`` carries the folder of the stack, ``message`` a sentence for the user, also where it
    failed.
    """

    done = Signal(object)
    message = Signal(str)
    _progress = Signal(int, int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._background = Background(self)
        self._background.done.connect(self.done)
        self._background.failed.connect(self.message)
        self._progress.connect(self._on_progress)

    def simulate(self, folder: Path, seed: int = 0, *, reuse: bool = False) -> None:
        """Simulate the stack into a folder; with ``reuse``, only where it is not there yet."""
        self.message.emit("Simulating a small particle stack …")

        def task() -> Path:
            # imports torch
            from napari_cryospin.engine.run.demo import simulate_demo

            if not (reuse and (folder / TABLE).exists()):
                simulate_demo(folder, seed, self._progress.emit)
            return folder

        self._background.submit(task)

    @Slot(int, int)
    def _on_progress(self, done: int, total: int) -> None:
        self.message.emit(f"Simulating particles: {done:,} of {total:,} …")


@cache
def sample_folder() -> Path:
    """Return the folder of this process's sample; it is removed at exit, unless it is kept."""
    folder = Path(tempfile.mkdtemp(prefix="cryospin-sample-"))
    atexit.register(_remove, folder)
    return folder


def keep_if_used(stack: Path | None) -> None:
    """Keep the sample where this is its stack, and a run is of it: it may be resumed later."""
    made = sample_folder.cache_info().currsize > 0
    if made and stack is not None and sample_folder() in stack.parents:
        atexit.unregister(_remove)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
