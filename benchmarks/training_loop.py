"""A run's training without its folder, for benchmarks that look inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_cryospin.engine.run.training import Training


def train_epoch(training: Training, before: Callable[[Tensor], None] | None = None) -> None:
    """Train one epoch; ``before`` is told the rows of each batch before it is trained."""
    training.begin_epoch()
    rows = training.rows_in_epoch
    list(training.inference.begin_epoch(training.place(), rows))
    batches = training.batches()
    for batch in batches:
        if before is not None:
            before(batch)
        training.inference.set_place(training.place(len(batches)))
        training.inference.train_batch(batch)
        training.clock.batch += 1
    training.inference.end_epoch(rows)
    clock = training.clock
    clock.epoch, clock.stage_epoch, clock.batch = clock.epoch + 1, clock.stage_epoch + 1, 0
