"""Train epoch by epoch in a loop of one's own, without a run folder, and keep each map.

python examples/own_loop.py particles.star maps
"""

import argparse
from pathlib import Path

import numpy as np

from napari_cryospin.api import Settings, Training, fsc, open_particles, train_epoch, write_map

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("stack", type=Path, help="particle table or stack: .star, .cs or .mrcs")
parser.add_argument("out", type=Path, help="folder for the maps")
parser.add_argument("--box", type=int, default=32, help="working box, pixels")
arguments = parser.parse_args()
arguments.out.mkdir(parents=True, exist_ok=True)

# .to("cuda") moves the particles, and all that is trained on them, to a GPU
particles = open_particles(arguments.stack, box=arguments.box, max_particles=3000)
training = Training(particles, Settings.from_preset("quick"))
before = training.map()

while not (training.stage_due and training.last_stage):
    if training.stage_due:
        # the next stage, or another start of the first one
        training.next_stage()
        print(f"Stage {training.clock.stage + 1}: {training.kind.label}")
        continue
    train_epoch(training)
    # here is the place for whatever is to be tried, measured or recorded after an epoch
    volume, loss = training.map(), float(np.mean(training.losses))
    change = 1 - fsc(before, volume)[1:].mean()
    print(f"Epoch {training.clock.epoch}: loss {loss:.4f}, the map changed by {change:.3f}")
    write_map(arguments.out / f"epoch_{training.clock.epoch:04d}.mrc", volume, particles.pixel_size)
    before = volume
