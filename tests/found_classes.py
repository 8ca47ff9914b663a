"""A run of two classes that found the truth, written without training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.data.belonging import belonging
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.run.checkpoint_writing import write_checkpoint
from napari_cryospin.engine.run.results import write_results
from napari_cryospin.engine.run.snapshot import poses_event
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.runfolder.class_files import of_class
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import write_poses
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import Nuisances, simulate
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from pathlib import Path

BOX, PIXEL_SIZE, N = 32, 4.0, 160


def write_run_of_two(folder: Path) -> Path:
    """Simulate two structures into a folder, and write a run that found them; return its folder."""
    first = procedural_molecule(BOX, PIXEL_SIZE)
    second = np.ascontiguousarray(first[:, ::-1, ::-1].transpose(1, 0, 2) ** 2)
    second *= first.std() / second.std()
    simulate(
        first, folder, n_particles=N, pixel_size=PIXEL_SIZE, snr=2.0, shift_std=0.0, seed=7,
        second=second, nuisances=Nuisances(second_share=0.65),
    )  # fmt: skip
    settings = Settings.from_preset("default")
    settings.data.stack, settings.data.box = folder / "particles.star", BOX
    settings.model.classes, settings.threads = 2, 1
    training = Training(prepare(read_table(settings.data.stack), settings.data), settings)
    truth = read_table(folder / "truth.star")
    assert truth.rotations is not None
    # each class has a frame of its own
    turns = random_rotations(2, np.random.default_rng(0))
    classes = np.where(belonging(truth, 2), 0, 1)
    poses = training.poses
    poses.rotations = torch.from_numpy(truth.rotations @ turns[classes]).float()
    poses.classes = torch.from_numpy(classes)
    poses.class_weights = torch.eye(2)[poses.classes]
    poses.losses[:] = 1
    run = RunFolder(folder / "run")
    run.create(settings)
    write_checkpoint(run, training.state(), 2)
    for _ in write_results(run, training, None):
        pass
    maps = [read_map(of_class(run.map_path, number))[0] for number in (1, 2)]
    used = training.used.numpy()
    told = poses_event(poses, training.fit, used, 1, Inference.DIRECT, PIXEL_SIZE, None)
    nobody = {
        "classes": np.zeros_like(told.classes),
        "class_weights": np.repeat(np.eye(2, dtype=np.float32)[:1], N, axis=0),
    }
    for event in (replace(told, epoch=0, **nobody), told):
        write_poses(run, event)
        run.write_epoch_maps(event.epoch, maps, PIXEL_SIZE)
    # results come after the last epoch
    for path in (run.map_path, *(of_class(run.map_path, number) for number in (1, 2))):
        path.touch()
    return run.path
