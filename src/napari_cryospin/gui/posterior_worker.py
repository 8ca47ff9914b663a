"""Pose posteriors computed off the main thread: the latest wish wins, late results are dropped."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QThread, Signal, Slot

from napari_cryospin.gui.mailbox import Mailbox
from napari_cryospin.gui.threads import WorkerThread

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.inference.posterior import ParticlePosterior, PosteriorExplorer
    from napari_cryospin.engine.run.events import VolumeUpdated

    ExplorerFactory = Callable[[WorkingStack], PosteriorExplorer]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PosteriorRequest:
    """A wish: the posterior of a particle of a stack, given a map.

    ``shift`` is the particle's origin shift (x, y), pixels of the working box.
    """

    generation: int
    particle: int
    stack: WorkingStack
    volume: VolumeUpdated
    shift: tuple[float, float]


@dataclass(frozen=True)
class PosteriorResult:
    """A posterior with what it was computed from.

    ``angles`` are rot, tilt, psi of the best pose in degrees; ``seconds`` is the time it took.
    """

    request: PosteriorRequest
    posterior: ParticlePosterior
    angles: NDArray[np.float64]
    seconds: float


@dataclass(frozen=True)
class PosteriorFailure:
    """A wish that could not be met; ``message`` is a sentence for the user."""

    request: PosteriorRequest
    message: str


class _Worker(QObject):
    """Lives in the second thread; keeps the explorer of the last stack and map."""

    done = Signal(object)

    def __init__(self, mailbox: Mailbox[PosteriorRequest], factory: ExplorerFactory) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._factory = factory
        self._explorer: PosteriorExplorer | None = None
        self._last: PosteriorRequest | None = None

    @Slot()
    def work(self) -> None:
        request = self._mailbox.take()
        if request is None:
            return
        start = time.perf_counter()
        try:
            posterior, angles = self._compute(request)
        except Exception as error:  # whatever happens, the panel must hear of it
            logger.exception("The posterior of particle %d failed", request.particle)
            self._explorer = self._last = None
            self.done.emit(PosteriorFailure(request, str(error) or type(error).__name__))
        else:
            seconds = time.perf_counter() - start
            self.done.emit(PosteriorResult(request, posterior, angles, seconds))

    def _compute(self, request: PosteriorRequest) -> tuple[ParticlePosterior, NDArray[np.float64]]:
        from napari_cryospin.engine.geometry.rotations import euler_from_matrices
        from napari_cryospin.gui.mollweide import index_table
        from napari_cryospin.gui.spheres import healpix_mesh

        last = self._last
        if self._explorer is None or last is None or last.stack is not request.stack:
            self._explorer, last = self._factory(request.stack), None
        if last is None or last.volume is not request.volume:
            self._explorer.set_volume(request.volume.volume)
        self._last = request
        posterior = self._explorer.particle(request.particle, request.shift)
        # computed here once, so that the main thread finds healpy and both tables ready
        index_table(posterior.nside)
        healpix_mesh(posterior.nside)
        return posterior, euler_from_matrices(posterior.best_rotation)


class PosteriorService(QObject):
    """The main thread's side: ask, and hear of the answer to the latest wish.

    Parameters
    ----------
    parent
        Owner; the thread ends with it or with the program.
    factory
        Makes the explorer of a stack, in the second thread.
    """

    ready = Signal(object)
    failed = Signal(object)
    _wake = Signal()

    def __init__(
        self, parent: QObject | None = None, factory: ExplorerFactory | None = None
    ) -> None:
        super().__init__(parent)
        self._mailbox: Mailbox[PosteriorRequest] = Mailbox()
        self._generation = 0
        self._wanted: PosteriorRequest | None = None
        self._pending = False
        self._worker = _Worker(self._mailbox, factory or _default_factory)
        self._thread = WorkerThread(self._worker, self, "cryospin-posterior")
        self._wake.connect(self._worker.work)
        self._worker.done.connect(self._on_done)
        self._thread.start(QThread.Priority.LowPriority)

    @property
    def busy(self) -> bool:
        """Whether an answer is being computed."""
        return self._pending

    def ask(
        self,
        stack: WorkingStack,
        volume: VolumeUpdated,
        particle: int,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Ask for a posterior; answers for another particle or stack are dropped from now on."""
        wanted = self._wanted
        if wanted is None or wanted.stack is not stack or wanted.particle != particle:
            self._generation += 1
        self._wanted = PosteriorRequest(self._generation, particle, stack, volume, shift)
        self._mailbox.put(self._wanted)
        self._pending = True
        self._wake.emit()

    def forget(self) -> None:
        """Drop the wish and every answer that is still to come."""
        self._generation += 1
        self._wanted, self._pending = None, False
        self._mailbox.put(None)

    @Slot(object)
    def _on_done(self, answer: PosteriorResult | PosteriorFailure) -> None:
        if answer.request is self._wanted:
            self._pending = False
        if answer.request.generation != self._generation:
            return
        if isinstance(answer, PosteriorResult):
            self.ready.emit(answer)
        else:
            self.failed.emit(answer)


def _default_factory(stack: WorkingStack) -> PosteriorExplorer:
    from napari_cryospin.engine.inference.posterior import PosteriorExplorer

    return PosteriorExplorer(stack, nside=8)
