"""An epoch of training, step by step: the one loop of runs, tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from napari_cryospin.engine.run.training import Training


@dataclass(frozen=True)
class Searched:
    """So much is done of what comes before the batches."""

    done: int
    total: int


@dataclass(frozen=True)
class Ready:
    """What comes before the batches of ``n_images`` in all is done; ``searched``: of anything."""

    n_batches: int
    searched: bool
    n_images: int


@dataclass(frozen=True)
class Due:
    """A batch of particles ``rows`` (m,) comes next, unless the epoch is cut short."""

    rows: Tensor


@dataclass(frozen=True)
class Trained:
    """A batch of ``n`` particles is done; ``loss`` is its mean error per Fourier coefficient."""

    n: int
    loss: float


@dataclass(frozen=True)
class Ending:
    """The batches are done, or cut short; what comes after them is next."""


class Epoch:
    """The present epoch of a run, from where its clock stands.

    Between two steps the state can be saved, and gone on from by another epoch of the same clock:
    who no longer asks for steps leaves it in the midst. The clock counts its batches; that the
    epoch is over is counted by :meth:`.training.Training.end_epoch`.

    Parameters
    ----------
    training
        What learns.
    """

    def __init__(self, training: Training) -> None:
        self._training = training
        self._cut = False

    def cut_short(self) -> None:
        """Leave out the batches that are still to come, and end the epoch in order."""
        self._cut = True

    def steps(self) -> Iterator[Searched | Ready | Due | Trained | Ending]:
        """Train, and yield what comes and what is done."""
        training, clock, inference = self._training, self._training.clock, self._training.inference
        training.begin_epoch()
        searched = False
        if clock.batch == 0:
            for done, total in inference.begin_epoch(training.place(), training.rows_in_epoch):
                searched = True
                yield Searched(done, total)
        batches = training.batches()
        yield Ready(len(batches), searched, sum(map(len, batches)))
        while clock.batch < len(batches):
            rows = batches[clock.batch]
            yield Due(rows)
            if self._cut:
                break
            inference.set_place(training.place(len(batches)))
            training.losses.append(inference.train_batch(rows))
            clock.batch += 1
            yield Trained(len(rows), training.losses[-1])
        yield Ending()
        inference.end_epoch(training.rows_in_epoch)


def train_epoch(training: Training, before: Callable[[Tensor], None] | None = None) -> None:
    """Train one epoch to its end, and count it.

    Parameters
    ----------
    training
        What learns.
    before
        Told the rows of each batch before it is trained.
    """
    for step in Epoch(training).steps():
        if before is not None and isinstance(step, Due):
            before(step.rows)
    training.end_epoch()


def train_to_the_end(training: Training) -> None:
    """Train through all stages and starts that are left."""
    while not (training.stage_due and training.last_stage):
        if training.stage_due:
            training.next_stage()
        else:
            train_epoch(training)
