"""ASPIRE's ab-initio pipeline, run by the Python of an environment that has ASPIRE.

Class averages of the particles, their orientations by common lines (sync3n), a map of them. The
pose of an average is that of the particle that the class was built around.
"""

import argparse
import sys
from pathlib import Path

# the folder of this file holds nothing that ASPIRE should import
sys.path.pop(0)

import numpy as np
from aspire.abinitio import CLSync3N
from aspire.classification import NeighborVarianceClassSelector
from aspire.denoising import LegacyClassAvgSource
from aspire.reconstruction import MeanEstimator
from aspire.source import OrientedSource, RelionSource

parser = argparse.ArgumentParser()
parser.add_argument("star", type=Path)
parser.add_argument("out", type=Path)
parser.add_argument("--classes", type=int, required=True)
parser.add_argument("--neighbours", type=int, required=True)
parser.add_argument("--seed", type=int, required=True)
arguments = parser.parse_args()

np.random.seed(arguments.seed)
particles = RelionSource(arguments.star).phase_flip().whiten().cache()
# the selector that needs no average of every class: those of 2,000 take most of half an hour
classes = LegacyClassAvgSource(
    particles,
    n_nbor=arguments.neighbours,
    class_selector=NeighborVarianceClassSelector(),
)
rows = np.asarray(classes.selection_indices[: arguments.classes], dtype=int)
averages = classes[: len(rows)].cache()
oriented = OrientedSource(averages, CLSync3N(averages, seed=arguments.seed, max_shift=0.05))
angles = np.degrees(oriented.angles)
MeanEstimator(oriented).estimate().save(str(arguments.out / "map.mrc"), overwrite=True)
np.savez(arguments.out / "poses.npz", rows=rows, angles=angles)
