"""Pose posteriors computed off the main thread: the latest wish wins, late results are dropped."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.gui.explorer.of_classes import rows_of_class
from napari_cryospin.gui.work.background import told
from napari_cryospin.gui.work.mailbox import Mailbox
from napari_cryospin.gui.work.threads import WorkerThread, take_one_core

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.events import PosesUpdated, VolumeUpdated
    from napari_cryospin.engine.posterior.of_particles import ParticlePosterior, ParticlePosteriors

    PosteriorsFactory = Callable[[Particles, PosteriorOptions], ParticlePosteriors]


# maps of classes that are kept ready at once, of some 200 MB each
_MOST_READY = 2


@dataclass(frozen=True)
class PosteriorRequest:
    """A wish: the posterior of a particle of a stack, given a map.

    Parameters
    ----------
    generation
        Answers to wishes of an earlier one are dropped.
    era
        Maps of an earlier one are no longer looked at.
    particle, particles, volume
        Whose posterior, given which map.
    shifts
        Present origin shifts (x, y) of all particles, pixels of the working box, (n, 2).
    scales
        What the map is multiplied with to fit each particle, (n,).
    options
        How it is computed.
    candidates
        Candidates that are wanted beside it, (K, 3, 3).
    poses
        The poses that belong to the map, or None where none are known.
    asked
        When it was wished for, by ``time.monotonic``, seconds.
    of_class
        The particle's class, from 0, whose map the posterior is against.
    """

    generation: int
    era: int
    particle: int
    particles: Particles
    volume: VolumeUpdated
    shifts: NDArray[np.floating]
    scales: NDArray[np.floating]
    options: PosteriorOptions
    candidates: NDArray[np.floating]
    poses: PosesUpdated | None
    asked: float
    of_class: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """What a map is made ready for: temperature and particle may change with it at hand."""
        return id(self.particles), self.options.radius

    @property
    def map(self) -> NDArray[np.float32]:
        """The map of the particle's class."""
        return self.volume.maps[self.of_class]

    def shares_map_with(self, other: PosteriorRequest) -> bool:
        """Whether the map, and what it is multiplied with to fit the particles, are the same."""
        return self.volume is other.volume and np.array_equal(self.scales, other.scales)


@dataclass(frozen=True)
class PosteriorResult:
    """A posterior with what it was computed from; ``seconds`` is the time that it took.

    ``best_psi`` is the most probable in-plane angle at every direction (RING), degrees;
    ``mode_angles`` are rot, tilt and psi of the modes, degrees, (m, 3).
    """

    request: PosteriorRequest
    posterior: ParticlePosterior
    best_psi: NDArray[np.float64]
    mode_angles: NDArray[np.float64]
    seconds: float


@dataclass(frozen=True)
class PosteriorFailure:
    """A wish that could not be met; ``message`` is a sentence for the user."""

    request: PosteriorRequest
    message: str


class _Ended(Exception):
    """Raised while a posterior is computed that nobody waits for any more."""


class _Worker(QObject):
    """Lives in the second thread; keeps what computed for the last stack and its maps.

    ``era`` is that of the maps that are looked at; one of another era is not taken up to its end.
    ``stop`` ends everything.
    """

    done = Signal(object)

    def __init__(self, mailbox: Mailbox[PosteriorRequest], factory: PosteriorsFactory) -> None:
        super().__init__()
        self._mailbox = mailbox
        self.era, self.stop = 0, threading.Event()
        self._factory = factory
        # by class, the one that was asked for last at the end
        self._ready: dict[int, tuple[ParticlePosteriors, PosteriorRequest]] = {}

    @Slot()
    def work(self) -> None:
        request = self._mailbox.take()
        if request is None or self.stop.is_set():
            return
        take_one_core()
        start = time.perf_counter()
        try:
            posterior = self._compute(request)
            best_psi = posterior.best_in_plane
            angles = _angles(posterior)
        except _Ended:
            # the map is not taken up: the next wish begins anew
            pass
        except Exception as error:  # whatever happens, the panel must hear of it
            self._ready.clear()
            self.done.emit(PosteriorFailure(request, told(error)))
        else:
            seconds = time.perf_counter() - start
            self.done.emit(PosteriorResult(request, posterior, best_psi, angles, seconds))

    def _compute(self, request: PosteriorRequest) -> ParticlePosterior:
        from napari_cryospin.gui.canvas.spheres import healpix_mesh
        from napari_cryospin.gui.views.mollweide import index_table

        posteriors = self._against(request)
        posteriors.options = request.options
        posterior = posteriors.particle(
            request.particle,
            request.shifts[request.particle],
            request.candidates,
            grouped=request.poses is None or request.poses.inference.has_heads,
        )
        # computed here once, so that the main thread finds healpy and both tables ready
        index_table(posterior.nside)
        healpix_mesh(posterior.nside)
        return posterior

    def _against(self, request: PosteriorRequest) -> ParticlePosteriors:
        """Return what computes against the map of the particle's class."""
        # taken out: one that is not taken up to its end is gone
        posteriors, last = self._ready.pop(request.of_class, (None, None))
        if posteriors is None or last is None or last.key != request.key:
            # those of another stack or low-pass serve no longer
            fits = {n: one for n, one in self._ready.items() if one[1].key == request.key}
            self._ready = dict(list(fits.items())[-(_MOST_READY - 1) :])
            posteriors, last = self._factory(request.particles, request.options), None
        if last is None or not request.shares_map_with(last):
            posteriors.set_volume(
                request.map,
                request.shifts,
                scales=request.scales,
                of=rows_of_class(request.poses, request.of_class),
                alive=partial(self._require_wanted, request),
            )
        self._ready[request.of_class] = posteriors, request
        return posteriors

    def _require_wanted(self, request: PosteriorRequest) -> None:
        if self.stop.is_set() or request.era != self.era:
            raise _Ended


class PosteriorService(QObject):
    """The main thread's side: ask, and hear of the answer to the latest wish.

    Parameters
    ----------
    parent
        Owner; the thread ends with it or with the program.
    factory
        Makes what computes for a stack, in the second thread.
    """

    ready = Signal(object)
    failed = Signal(object)
    _wake = Signal()

    def __init__(
        self, parent: QObject | None = None, factory: PosteriorsFactory | None = None
    ) -> None:
        super().__init__(parent)
        self._mailbox: Mailbox[PosteriorRequest] = Mailbox()
        self._generation = 0
        self._wanted: PosteriorRequest | None = None
        self._pending = False
        self._worker = _Worker(self._mailbox, factory or _default_factory)
        self._thread = WorkerThread(
            self._worker, self, "cryospin-posterior", hurry=self._worker.stop.set
        )
        self._wake.connect(self._worker.work)
        self._worker.done.connect(self._on_done)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether an answer is being computed."""
        return self._pending

    def ask(
        self,
        particles: Particles,
        volume: VolumeUpdated,
        particle: int,
        shifts: NDArray[np.floating] | None = None,
        scales: NDArray[np.floating] | None = None,
        options: PosteriorOptions | None = None,
        candidates: NDArray[np.floating] | None = None,
        poses: PosesUpdated | None = None,
        of_class: int = 0,
    ) -> None:
        """Ask for a posterior.

        Answers for another particle or stack, or with other options, are dropped from now on.
        """
        wanted, options = self._wanted, options or PosteriorOptions()
        if (
            wanted is None
            or wanted.particles is not particles
            or (wanted.particle, wanted.options) != (particle, options)
        ):
            self._generation += 1
        if wanted is not None and wanted.particles is not particles:
            self._worker.era += 1
        origins = np.zeros((particles.n, 2)) if shifts is None else shifts
        self._wanted = PosteriorRequest(
            self._generation,
            self._worker.era,
            particle,
            particles,
            volume,
            origins,
            np.ones(particles.n) if scales is None else scales,
            options,
            np.empty((0, 3, 3)) if candidates is None else candidates,
            poses,
            time.monotonic(),
            of_class,
        )
        self._mailbox.put(self._wanted)
        self._pending = True
        self._wake.emit()

    def forget(self) -> None:
        """Drop the wish and every answer that is still to come."""
        self._generation += 1
        self._worker.era += 1
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


def _angles(posterior: ParticlePosterior) -> NDArray[np.float64]:
    from napari_cryospin.engine.geometry.euler import euler_from_matrices

    return euler_from_matrices(posterior.modes)


def _default_factory(particles: Particles, options: PosteriorOptions) -> ParticlePosteriors:
    from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors

    return ParticlePosteriors(particles, options)
