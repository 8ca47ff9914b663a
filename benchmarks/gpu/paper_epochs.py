"""Seconds of an epoch, and memory, of the paper's preset: 50 000 particles of 128 px on a device.

An epoch that does not fit into the time is measured in part, and the rest of it is reckoned from
that; the table tells how many of the batches were trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from made_particles import made_particles
from tables import Deadline, Table, arguments, peak_memory, synchronised

from napari_cryospin.engine.run.epoch import Due, Epoch, Ready, Trained
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    import argparse

# batches before the clock starts: the first ones choose kernels and take memory
_WARM_UP = 3
_COLUMNS = ("stage", "batches trained", "of an epoch's", "ms per batch", "seconds per epoch")


def main() -> None:
    """Measure the two stages, each in half of the time."""
    options = arguments(__doc__ or "", 50_000, 128)
    title = f"The paper's preset on {options.particles} particles of {options.box} px"
    columns = (*_COLUMNS, "peak device memory, GiB")
    table = Table(options.out / "paper_epochs.md", title, columns, options.device)
    deadline = Deadline(options.seconds)
    began = synchronised(options.device)
    stack, _ = made_particles(options.particles, options.box, options.device)
    made = synchronised(options.device) - began
    table.note(f"The particles were made in {made:.1f} s.")
    settings = Settings.from_preset("paper-synthetic")
    training = Training(stack, settings)
    peak_memory(options.device)
    for left in (2, 1):
        _measure(training, table, Deadline(deadline.left / left + 5), options)
        if left == 2:
            training.next_stage()
    if any(row[1] != row[2] for row in table.rows):
        table.note("Where fewer batches than an epoch's were trained, its seconds are reckoned.")


def _measure(
    training: Training, table: Table, deadline: Deadline, options: argparse.Namespace
) -> None:
    began, warm, n_batches = 0.0, 0, 0
    for step in Epoch(training).steps():
        done = training.clock.batch
        if isinstance(step, Ready):
            n_batches = step.n_batches
            warm = min(_WARM_UP, n_batches - 1)
        elif isinstance(step, Due) and done == warm:
            began = synchronised(options.device)
        elif isinstance(step, Trained) and done > warm and (deadline.passed or done == n_batches):
            break
    done = training.clock.batch
    seconds = (synchronised(options.device) - began) / (done - warm)
    table.add(
        training.kind.label,
        done,
        n_batches,
        1000 * seconds,
        seconds * n_batches,
        peak_memory(options.device),
    )


if __name__ == "__main__":
    main()
