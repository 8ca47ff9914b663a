"""Steer a run: auto-encode while the loss falls, then auto-decode while it falls, stop and keep.

python examples/steer.py particles.star run --gain 0.01
"""

import argparse
import math
from pathlib import Path

from napari_cryospin.api import (
    AmortizedStage,
    Controls,
    DirectStage,
    Reconstruction,
    Settings,
    events,
)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("stack", type=Path, help="particle table or stack: .star, .cs or .mrcs")
parser.add_argument("run", type=Path, help="the run folder, which is made")
parser.add_argument("--gain", type=float, default=0.01, help="share of the loss, each epoch")
arguments = parser.parse_args()

settings = Settings.from_preset("quick")
settings.data.stack = arguments.stack
settings.stages = [
    AmortizedStage(epochs=30, learning_rate_encoder=1e-3, learning_rate_volume=2e-2),
    DirectStage(epochs=60, learning_rate_volume=1e-2),
]

# commands may be given from any thread; the run takes them between two batches
controls = Controls()
before = math.inf

for event in Reconstruction(settings, arguments.run, controls).run():
    match event:
        case events.EpochDone(batches=0):
            pass  # the epoch that the switch ended before its first batch
        case events.EpochDone():
            print(f"Epoch {event.epoch + 1}, {event.inference.label}: loss {event.loss:.4f}")
            if before - event.loss < arguments.gain * event.loss:
                # stopping writes maps, poses and verdict; with keep=False the run would be removed
                last = event.stage + 1 == len(settings.stages)
                controls.stop() if last else controls.switch()
            before = event.loss
        case events.Switched():
            print(event.sentence())
            before = math.inf  # losses of two stages do not compare
        case events.Finished():
            print("Stopped and kept in" if event.stopped else "Finished in", event.folder)
        case events.Failed():
            raise SystemExit(event.message)
