"""Asks for the posterior of the chosen particle, as often as somebody looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal, Slot

from napari_cryospin.gui.explorer.of_classes import class_of
from napari_cryospin.gui.explorer.posterior_worker import PosteriorService
from napari_cryospin.gui.explorer.state import candidates_of
from napari_cryospin.gui.work.resting_timer import RestingTimer

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cryospin.gui.explorer.posterior_worker import PosteriorResult, PosteriorsFactory
    from napari_cryospin.gui.explorer.state import Explorer

# new maps are taken up at most once a second, and this many times as long as an answer takes:
# the posterior must not slow the training that it looks at
INTERVAL_MS = 1000
_REST = 10
# but one that is looked at is not left to grow old, however long an answer takes
_MOST_INTERVAL_MS = 5000


class PosteriorFeed(QObject):
    """Follows the explorer: a new particle or option is answered at once, a new map in its turn.

    ``asked`` tells that an answer is being computed; ``ready`` carries a ``PosteriorResult``,
    ``failed`` a ``PosteriorFailure``.

    Parameters
    ----------
    explorer
        What is looked at.
    wanted
        Says whether anybody looks.
    factory
        Makes the posterior explorer of a stack.
    """

    asked = Signal()
    ready = Signal(object)
    failed = Signal(object)

    def __init__(
        self,
        explorer: Explorer,
        wanted: Callable[[], bool],
        parent: QObject | None = None,
        *,
        factory: PosteriorsFactory | None = None,
    ) -> None:
        super().__init__(parent)
        self._explorer, self._wanted = explorer, wanted
        self._stale = self._at_once = False
        self.result: PosteriorResult | None = None
        # class, from 0, of the chosen particle where there is no map of it
        self.lacks_map: int | None = None
        self.service = PosteriorService(self, factory)
        self.service.ready.connect(self._on_ready)
        self.service.failed.connect(self.failed)
        self._timer = RestingTimer(INTERVAL_MS, _REST, self, _MOST_INTERVAL_MS)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.refresh)
        explorer.run_changed.connect(self._on_run_changed)
        explorer.epoch_changed.connect(self._on_epoch_changed)
        explorer.volume_changed.connect(self._on_volume_changed)
        explorer.particle_changed.connect(self._on_asked)
        explorer.options_changed.connect(self._on_asked)

    @Slot()
    def refresh(self) -> None:
        """Take up the latest map, unless the last answer is still being computed."""
        if not (self._stale and self._wanted()):
            return
        if self.service.busy:
            self._timer.start()
        else:
            self._ask()

    def _ask(self) -> None:
        explorer = self._explorer
        if explorer.particles is None or explorer.volume is None:
            return
        particle = min(explorer.particle, explorer.n_particles - 1)
        of_class = class_of(explorer.poses, particle)
        self.lacks_map = of_class if of_class >= len(explorer.volume.maps) else None
        if self.lacks_map is not None:
            # maps and poses come one after the other: the map of another class tells nothing of it
            self._stale = True
            self.service.forget()
            self.asked.emit()
            return
        self._stale = self._at_once = False
        self.service.ask(
            explorer.particles,
            explorer.volume,
            particle,
            explorer.shifts,
            explorer.scales,
            explorer.options,
            candidates_of(explorer.poses, particle),
            explorer.poses,
            of_class,
        )
        self.asked.emit()

    @Slot()
    def _on_run_changed(self) -> None:
        self.result = self.lacks_map = None
        self.service.forget()

    @Slot(object)
    def _on_volume_changed(self, _volume: object) -> None:
        self._stale = True
        if not self._wanted():
            return
        if self._at_once:
            self._ask()
        elif not self._timer.isActive():
            self._timer.start()

    @Slot(object)
    def _on_epoch_changed(self, _epoch: int | None) -> None:
        # what is still to come belongs to another epoch; the map asked for does not wait its turn
        self.service.forget()
        self._timer.stop()
        self._stale, self._at_once = False, True

    @Slot(int)
    @Slot(object)
    def _on_asked(self, _value: object) -> None:
        self._stale = True
        if self._wanted():
            self._ask()

    @Slot(object)
    def _on_ready(self, result: PosteriorResult) -> None:
        self.result = result
        self._timer.worked(result.seconds)
        self.ready.emit(result)
