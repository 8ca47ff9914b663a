"""Read the folder of a finished run: figures of its epochs, maps, poses, FSC and verdict.

python examples/read_run.py run
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from napari_cryospin.api import (
    RunFolder,
    angular_distance,
    euler_from_matrices,
    fsc,
    read_map,
    read_table,
    resolution,
)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("run", type=Path, help="the run folder")
run = RunFolder(parser.parse_args().run)

settings = run.settings()
print(f"{settings.data.stack}, preset {settings.preset}, seed {settings.seed}")
for done in run.history():
    print(f"epoch {done.epoch + 1}: {done.inference.label}, loss {done.loss:.4f}")

# how far the poses have moved in an epoch
for before, after in pairwise(run.recorded_epochs()):
    moved = angular_distance(run.poses(before).rotations, run.poses(after).rotations)
    print(f"epoch {after + 1}: poses moved by {np.median(moved):.1f}° in the median")

# the final poses, in a table that RELION reads too
table = read_table(run.star_path)
assert table.rotations is not None
print(f"{table.n_particles} particles; rot, tilt and psi of the first ones:")
print(euler_from_matrices(table.rotations[:5]).round(1))

volume, pixel_size = read_map(run.map_path)
print(f"The map has {len(volume)} px of {pixel_size:.2f} Å, mean {volume.mean():.3g}")

# every map that was written in the course of the run, against the final one
for epoch in run.recorded_epochs():
    curve = fsc(read_map(run.epoch_map_path(epoch))[0], volume)
    print(f"epoch {epoch + 1}: like the final map to {resolution(curve, pixel_size, 0.5):.1f} Å")

columns = run.fsc()
print(*columns, sep="  ")
for row in zip(*columns.values(), strict=True):
    print("  ".join(f"{value:.4f}" for value in row))

verdict = run.verdict()
if verdict is not None:
    print(f"Verdict: {verdict.outcome}.", *verdict.sentences, sep="\n")
