"""How much work an experiment is, before it is begun."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

from napari_cryospin.engine.run.pace import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_cryospin.engine.events import EpochDone
    from napari_cryospin.engine.experiments.cells import Cell
    from napari_cryospin.engine.stages import Inference


def epochs_of(cells: Sequence[Cell]) -> Counter[Inference]:
    """Return the epochs of some cells by inference, at most: what is common counts once."""
    total: Counter[Inference] = Counter()
    trunks = set()
    for cell in cells:
        own = _epochs_alone(cell)
        shared = cell.trunk is not None and cell.encoded_first and cell.trunk in trunks
        trunks.add(cell.trunk)
        if shared and cell.switch_at != "auto":
            own[cell.encoding.inference] -= cell.encoding.epochs
        total += own
    return total


def seconds_of(cells: Sequence[Cell], pace: Mapping[Inference, float]) -> float | None:
    """Return how many seconds some cells take, at most.

    Parameters
    ----------
    cells
        The cells.
    pace
        Seconds of an epoch by inference; where one is missing the answer is None.
    """
    epochs = epochs_of(cells)
    if not all(inference in pace for inference in epochs):
        return None
    return sum(number * pace[inference] for inference, number in epochs.items())


def pace_of(history: Iterable[EpochDone]) -> dict[Inference, float]:
    """Return the seconds of an epoch by inference, as a run took them."""
    seconds: dict[Inference, list[float]] = defaultdict(list)
    for done in history:
        seconds[done.inference].append(done.seconds)
    return {inference: fmean(each) for inference, each in seconds.items()}


def plan_sentence(cells: Sequence[Cell], history: Iterable[EpochDone] = ()) -> str:
    """Return how many cells there are, and how much work they are, in words.

    Parameters
    ----------
    cells
        The cells.
    history
        The epochs of a run whose pace is taken for theirs.
    """
    shared = epochs_of(cells).total()
    alone = sum((_epochs_alone(cell) for cell in cells), Counter()).total()
    words = f"{len(cells):,} cell{'s' * (len(cells) != 1)}, at most {shared:,} epochs"
    if shared < alone:
        words += f" ({alone:,} if each were run alone)"
    seconds = seconds_of(cells, pace_of(history))
    if seconds is not None:
        words += f", at most {duration(seconds)} of training at the pace of the shown run"
    return f"{words}."


def _epochs_alone(cell: Cell) -> Counter[Inference]:
    """Return the epochs that a cell has by itself, by inference."""
    found: Counter[Inference] = Counter()
    for place, stage in enumerate(cell.settings.stages):
        times = cell.settings.n_starts if place == 0 else 1
        found[stage.inference] += times * stage.epochs
    if cell.switch_at == "never":
        # as long as its stages together, all of it by the first
        inference = cell.encoding.inference
        found = Counter({inference: found.total()})
    return found
