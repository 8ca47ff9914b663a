"""What scripts use: particles, runs, run folders, simulations, and how good a result is.

Importing it imports the engine, with torch, and neither Qt nor napari. Lengths are in Å, angles in
degrees, epochs and particles count from 0; maps are (z, y, x), particles white, poses RELION's.
"""

from napari_cryospin.engine import events
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.given import Given
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.mrc_writer import write_map
from napari_cryospin.engine.data.nuisances import REALISTIC, Nuisances
from napari_cryospin.engine.data.particles import Particles
from napari_cryospin.engine.data.table import ParticleTable
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.fsc import fsc, resolution
from napari_cryospin.engine.evaluation.report import Evaluation, evaluate, evaluate_run
from napari_cryospin.engine.experiments.execution import ExperimentRun
from napari_cryospin.engine.experiments.plan import Experiment
from napari_cryospin.engine.geometry.euler import euler_from_matrices, matrices_from_euler
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.posterior.of_particles import ParticlePosterior, ParticlePosteriors
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.run.branching import branch_epochs, make_branch
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.engine.run.epoch import train_epoch
from napari_cryospin.engine.run.homes import open_particles
from napari_cryospin.engine.run.inferring import infer
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import Snapshot, read_snapshot
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.verdict import Verdict
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate, source_map
from napari_cryospin.engine.stages import AmortizedStage, DirectStage, MarginalStage

__all__ = [
    "REALISTIC",
    "AmortizedStage",
    "Controls",
    "DirectStage",
    "Evaluation",
    "Experiment",
    "ExperimentRun",
    "Given",
    "InputError",
    "MarginalStage",
    "Nuisances",
    "ParticlePosterior",
    "ParticlePosteriors",
    "ParticleTable",
    "Particles",
    "PosteriorOptions",
    "Reconstruction",
    "RunFolder",
    "Settings",
    "Snapshot",
    "Training",
    "Verdict",
    "angular_distance",
    "branch_epochs",
    "euler_from_matrices",
    "evaluate",
    "evaluate_run",
    "events",
    "fsc",
    "infer",
    "make_branch",
    "matrices_from_euler",
    "open_particles",
    "procedural_molecule",
    "read_map",
    "read_snapshot",
    "read_table",
    "resolution",
    "simulate",
    "source_map",
    "train_epoch",
    "write_map",
]
