"""The trials of auto-encoding: what is trained, and what came of it."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from known import read_known
from oracle import oracle_fsc, oracle_poses
from scoring import RIGHT, pose_errors, pseudo_symmetry

from napari_cryospin.engine.evaluation.alignment import align_rotations, apply_alignment
from napari_cryospin.engine.evaluation.fsc import crossing_shell, fsc
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.asking import Measure
from napari_cryospin.engine.inference.encoding import Encoding
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.random_streams import stream
from napari_cryospin.engine.run.epoch import train_epoch
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from cases import Case
    from known import Known

BOX = 32
_SUPERVISED = 500
_PROBED = 500


@dataclass(frozen=True)
class Trial:
    """A stack with its truth, and the seed of the runs."""

    known: Known
    pseudo: np.ndarray | None
    seed: int

    @classmethod
    def of(cls, case: Case, folder: Path) -> Trial:
        """Return the trial of a case, whose stack is simulated if need be."""
        stack = case.stack(folder / "stacks")
        pseudo = pseudo_symmetry(stack / "truth.mrc") if case.molecule == "Hsp90" else None
        return cls(read_known(stack, BOX), pseudo, case.seed)

    def training(self, settings: Settings) -> Training:
        """Return a run of centred particles."""
        settings.seed, settings.model.shifts = self.seed, False
        return Training(self.known.particles, settings)

    def errors(self, training: Training) -> np.ndarray:
        """Return the pose errors of all particles, to the nearer of two pseudo-symmetric mates."""
        found = training.poses.rotations.double().numpy()
        return pose_errors(found, self.known.rotations, self.pseudo)[1]

    def fsc(self, training: Training) -> float:
        """Return where the map falls below FSC 0.5, as a share of Nyquist."""
        found = training.poses.rotations.double().numpy()
        alignment = align_rotations(found, self.known.rotations)
        mapped = apply_alignment(training.maps()[0], alignment, np.zeros(3))
        curve = fsc(mapped, self.known.volume)
        return crossing_shell(curve, 0.5) / (len(curve) - 1)

    def oracle(self) -> dict[str, object]:
        """Return what the oracle reaches."""
        poses = oracle_poses(self.known, shifts=False)
        nearer = pose_errors(poses, self.known.rotations, self.pseudo)[1]
        fraction = oracle_fsc(self.known)
        return {"oracle_mean": f"{nearer.mean():.2f}", "oracle_fsc": f"{fraction:.3f}"}


def supervised(trial: Trial, batch: int, turns: int) -> dict[str, object]:
    """Teach an encoder the true poses by 500 batches, each image seen at so many of its turns.

    Then it is asked about the held-out particles.
    """
    training = trial.training(Settings.from_preset("cryospin"))
    problem, encoding = training.problem, training.inference.encoding
    particles = problem.particles
    learning = (~training.held_out).nonzero().flatten()
    held = training.held_out.nonzero().flatten()
    spread = {name: f"{head_spread(trial, name):.0f}" for name in ("polar", "vgg")}
    truth = Poses.centred(torch.from_numpy(trial.known.rotations).float())
    draw = stream(trial.seed, "supervised")
    started = time.process_time()
    looked = encoding.look(learning, particles.images(learning))
    encoding.encoder.train()
    for step in range(_SUPERVISED):
        encoding.slow_down(0.5 * (1 + np.cos(np.pi * step / _SUPERVISED)))
        some = torch.randint(len(learning), (batch,), generator=draw).repeat(turns)
        rows = learning[some]
        encoding.learn(rows, looked[some], truth[rows], draw)
    seconds = time.process_time() - started
    grid = grid_of_map(torch.from_numpy(trial.known.volume))
    model = ImageModel.within(BOX, BOX / 2)
    encoding.propose(held, Measure(model, slicer(grid)))
    # in the frame of the truth: nothing is aligned
    errors = angular_distance(problem.poses.rotations[held], truth.rotations[held]).numpy()
    return _of_errors(errors) | {
        "seconds": f"{seconds:.1f}",
        "polar_spread": spread["polar"],
        "vgg_spread": spread["vgg"],
    }


@torch.no_grad()
def head_spread(trial: Trial, name: str) -> float:
    """Return the mean angle between the poses that two heads of a new encoder say of an image."""
    settings = Settings.from_preset("cryospin")
    settings.model.encoder = name
    problem = trial.training(settings).problem
    encoding, rows = Encoding(problem, 1e-3), torch.arange(_PROBED)
    encoding.encoder.train()
    looked = encoding.look(rows, problem.particles.images(rows))
    # all heads at one turn
    turn = torch.zeros(_PROBED, dtype=torch.long)
    said = encoding.encoder(looked, turn).rotations
    one, other = torch.triu_indices(said.shape[1], said.shape[1], 1)
    return float(angular_distance(said[:, one], said[:, other]).mean())


def encoded(trial: Trial, preset: str, starts: int) -> tuple[Training, dict[str, object]]:
    """Run auto-encoding, from several starts; return the run at the end of the last one."""
    settings = Settings.from_preset(preset)
    settings.starts = starts
    training = trial.training(settings)
    means, gains, seconds, epochs = [], [], [], []
    for start in range(starts):
        if start:
            training.next_stage()
        started = time.process_time()
        while not training.stage_due:
            train_epoch(training)
        seconds.append(time.process_time() - started)
        epochs.append(training.clock.stage_epoch)
        means.append(trial.errors(training).mean())
        judged = training.judge()
        gains.append(0.0 if judged is None else judged.mean_gain)
    return training, {
        "starts": " ".join(f"{mean:.1f}" for mean in means),
        "gains": " ".join(f"{gain:.1f}" for gain in gains),
        "seconds": f"{max(seconds):.1f}",
        "epochs": " ".join(map(str, epochs)),
    }


def switch(trial: Trial, training: Training, searches: int) -> tuple[Training, dict[str, object]]:
    """Return a run like this one that begins auto-decoding, from the best start; and its errors."""
    branch = copy.deepcopy(training)
    branch.settings.stages[1].searches = searches
    branch.next_stage()
    errors, held = trial.errors(branch), branch.held_out.numpy()
    return branch, _of_errors(errors) | {
        "held_mean": f"{errors[held].mean():.2f}",
        "held_right": f"{(errors[held] < RIGHT).mean():.3f}",
    }


def decoded(trial: Trial, training: Training) -> dict[str, object]:
    """Run auto-decoding to its end."""
    started = time.process_time()
    while not training.stage_due:
        train_epoch(training)
    errors = trial.errors(training)
    return {
        "decoded_mean": f"{errors.mean():.2f}",
        "decoded_median": f"{np.median(errors):.2f}",
        "decoded_fsc": f"{trial.fsc(training):.3f}",
        "decoded_seconds": f"{time.process_time() - started:.1f}",
    }


def switched(trial: Trial, at: int) -> dict[str, object]:
    """Switch a run after so many epochs, and go on without: the errors of both, epoch by epoch.

    As in the paper's figure 4.
    """
    settings = Settings.from_preset("cryospin")
    settings.starts, settings.stages[0].until = 1, "hand"
    never = trial.training(settings)
    never.inference.criterion = None
    for _ in range(at):
        train_epoch(never)
    branch = copy.deepcopy(never)
    branch.next_stage()
    pairs = []
    while not branch.stage_due:
        for training in (branch, never):
            train_epoch(training)
        pairs.append((trial.errors(branch).mean(), trial.errors(never).mean()))
    below = [one < other for one, other in pairs]
    return {
        "below_after": below.index(True) + 1 if True in below else "never",
        "stays_below": "yes" if all(below) else "no",
        "switched": " ".join(f"{one:.2f}" for one, _ in pairs),
        "never_switched": " ".join(f"{other:.2f}" for _, other in pairs),
    }


def _of_errors(errors: np.ndarray) -> dict[str, object]:
    return {
        "mean": f"{errors.mean():.2f}",
        "median": f"{np.median(errors):.2f}",
        "right": f"{(errors < RIGHT).mean():.3f}",
    }
