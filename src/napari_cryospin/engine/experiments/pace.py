"""How long an experiment still takes, by what its cells have taken so far."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_cryospin.engine.experiments.cells import Cell
    from napari_cryospin.engine.experiments.records import RunRecord


class ExperimentPace:
    """Learns from the cells that have ended; cells of one preset are taken to be alike."""

    def __init__(self) -> None:
        # of each preset: seconds of an epoch of auto-encoding, and of all that comes after it
        self._epoch: dict[str, list[float]] = defaultdict(list)
        self._rest: dict[str, list[float]] = defaultdict(list)
        self._beside: list[float] = []

    def learn(self, cell: Cell, record: RunRecord, took: float | None = None) -> None:
        """Take in a cell that has finished.

        Parameters
        ----------
        cell, record
            The cell, and what its folder tells.
        took
            Seconds from its beginning to its end, reading and judging included, where that is
            known.
        """
        own = [done for done in record.history if done.epoch >= record.shared]
        encoded = [done.seconds for done in own if done.inference.has_heads]
        if encoded:
            self._epoch[cell.preset].append(fmean(encoded))
        if cell.switch_at != "never":
            rest = [done.seconds for done in own if not done.inference.has_heads]
            self._rest[cell.preset].append(sum(rest))
        if took is not None:
            self._beside.append(max(took - record.own_seconds, 0.0))

    def seconds_left(self, cells: Sequence[Cell], to_come: Iterable[int]) -> float | None:
        """Return the seconds that some cells will take, by their places; None if not known."""
        left = 0.0
        for place in to_come:
            seconds = self._of(cells, place)
            if seconds is None:
                return None
            left += seconds
        return left

    def _of(self, cells: Sequence[Cell], place: int) -> float | None:
        cell = cells[place]
        encodes = any(stage.inference.has_heads for stage in cell.settings.stages)
        epochs = own_encoding(cells, place) if encodes else 0
        rest = self._rest.get(cell.preset)
        if cell.switch_at == "never":
            rest = [0.0]
            epochs += cell.epochs - cell.encoding.epochs
        epoch = self._epoch.get(cell.preset) if epochs else [0.0]
        if not rest or not epoch:
            return None
        return epochs * fmean(epoch) + fmean(rest) + (fmean(self._beside) if self._beside else 0.0)


def own_encoding(cells: Sequence[Cell], place: int) -> int:
    """Return the epochs of auto-encoding that a cell trains itself, at most."""
    cell = cells[place]
    before = [
        other.encoding.epochs
        for other in cells[:place]
        if other.trunk is not None and other.trunk == cell.trunk
    ]
    return max(cell.encoding.epochs - max(before, default=0), 0)
