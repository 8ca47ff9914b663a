"""The preset `default` on 50 000 particles of 64 px on a device: how far, how fast, how well.

Every epoch is a row of the table. A run that does not end in the time leaves those that it reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from made_particles import made_particles
from tables import Deadline, Table, arguments, peak_memory, synchronised

from napari_cryospin.engine.evaluation.alignment import align_rotations
from napari_cryospin.engine.run.epoch import Due, Epoch
from napari_cryospin.engine.run.judgement import reach_verdict
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    import numpy as np

_COLUMNS = ("epoch", "start", "stage", "seconds", "mean pose error, °", "median, °")
# images of 128 px and SNR 0.1 have about so much at 64 px
_SNR = 0.4
# particles that the pose error is measured of
_MEASURED = 3000


def main() -> None:
    """Train, stage by stage, until the end of the run or of the time."""
    options = arguments(__doc__ or "", 50_000, 64)
    title = f"Preset default on {options.particles} particles of {options.box} px"
    columns = (*_COLUMNS, "peak device memory, GiB")
    table = Table(options.out / "default_run.md", title, columns, options.device)
    deadline = Deadline(options.seconds)
    began = synchronised(options.device)
    stack, truth = made_particles(options.particles, options.box, options.device, snr=_SNR)
    table.note(f"The particles were made in {synchronised(options.device) - began:.1f} s.")
    began = synchronised(options.device)
    training = Training(stack, Settings.from_preset("default"))
    peak_memory(options.device)
    while not deadline.passed:
        if training.stage_due:
            if training.last_stage:
                seconds = synchronised(options.device) - began
                verdict = reach_verdict(training)
                table.note(f"The run ended after {seconds:.0f} s: {verdict.outcome}.")
                return
            training.next_stage()
            continue
        _epoch(training, truth, table, deadline, options.device)
    table.note("The time was up before the run's end.")


def _epoch(
    training: Training, truth: np.ndarray, table: Table, deadline: Deadline, device: str
) -> None:
    """Train an epoch and tell of it; where the time is up in its midst, tell how far it got."""
    clock, began = training.clock, synchronised(device)
    ended = True
    for step in Epoch(training).steps():
        if isinstance(step, Due) and clock.batch and deadline.passed:
            ended = False
            break
    seconds = synchronised(device) - began
    label = training.kind.label if ended else f"{training.kind.label}, {clock.batch} batches of it"
    errors = _pose_errors(training, truth)
    table.add(clock.epoch, clock.start + 1, label, seconds, *errors, peak_memory(device))
    training.end_epoch()


def _pose_errors(training: Training, truth: np.ndarray) -> tuple[float, float]:
    """Return mean and median pose error of particles seen so far, degrees."""
    seen = (training.poses.losses.isfinite()).nonzero().flatten()
    rows = seen[torch.linspace(0, len(seen) - 1, min(_MEASURED, len(seen))).long()].cpu().numpy()
    found = align_rotations(training.poses.rotations.cpu().numpy()[rows], truth[rows])
    return found.mean, found.median


if __name__ == "__main__":
    main()
