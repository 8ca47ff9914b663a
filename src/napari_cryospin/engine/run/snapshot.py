"""The state of a run folder as events: what a window needs to show a run that it did not watch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.events import EpochDone, PosesUpdated, VolumeUpdated
from napari_cryospin.engine.run.checkpoint_reading import (
    fit_in,
    latest,
    read_checkpoint,
    require_clock,
    require_poses,
    require_used,
)
from napari_cryospin.engine.run.fingerprint import other_particles
from napari_cryospin.engine.run.homes import look_at
from napari_cryospin.engine.run.told_candidates import told_candidates
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.class_files import map_of_class
from napari_cryospin.engine.runfolder.metrics import read_metrics
from napari_cryospin.engine.runfolder.records import read_poses, recorded_epochs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.judging.particle_fit import ParticleFit
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import Inference
    from napari_cryospin.engine.state.pose_table import PoseTable


@dataclass(frozen=True)
class Snapshot:
    """A run as its folder tells it: settings, particles, past epochs, last map and last poses.

    ``truth`` is None where it is not known. ``notes`` tell what is damaged and was left out, and
    whether particles that were read for it are others than the run's.
    """

    settings: Settings
    particles: Particles
    history: tuple[EpochDone, ...]
    volume: VolumeUpdated
    poses: PosesUpdated
    truth: Truth | None
    notes: tuple[str, ...] = ()


def read_snapshot(folder: RunFolder, particles: Particles | None = None) -> Snapshot:
    """Read a run folder, finished or not, as far as it is whole.

    The poses are those of the last checkpoint; where there is none that can be read, those of the
    last epoch that was recorded. A damaged map gives way to the one before.

    Parameters
    ----------
    folder
        The run folder.
    particles
        Its particles, where they have been read already.

    Raises
    ------
    InputError
        If the folder holds no run, no map yet or no poses that can be read, or the particles have
        gone.
    """
    settings = folder.settings()
    if settings.data.stack is None:
        raise InputError(f"{folder.settings_path} names no particle stack.")
    maps = folder.maps()
    if not maps:
        raise InputError(f"{folder.path} holds no map yet: wait for its first epoch.")
    metrics = read_metrics(folder.metrics_path)
    notes = list(metrics.notes)
    if particles is None:
        particles = look_at(settings.data)
        notes += filter(None, [other_particles(folder.fingerprint_path, particles)])
    truth = truth_or_note(settings, particles, notes)
    (volumes, pixel_size), poses = (
        _last_maps(maps, particles, settings.model.classes, notes),
        _last_poses(folder, settings, particles, truth, notes),
    )
    return Snapshot(
        settings,
        particles,
        metrics.epochs,
        VolumeUpdated.of(max(poses.epoch - 1, 0), poses.inference, volumes, pixel_size),
        poses,
        truth,
        tuple(notes),
    )


def truth_or_note(settings: Settings, particles: Particles, notes: list[str]) -> Truth | None:
    """Return the truth of a run; where its files cannot be used any more, None and a note."""
    try:
        return Truth.of(settings.data, particles, settings.model.symmetry)
    except InputError as error:
        notes.append(f"{str(error).rstrip('.')}; the truth is left out.")
        return None


def read_epoch(
    folder: RunFolder, epoch: int, particles: Particles, truth: Truth | None
) -> tuple[VolumeUpdated, PosesUpdated]:
    """Read what was recorded of an epoch of a run.

    Parameters
    ----------
    folder
        The run folder.
    epoch
        One of :func:`~.runfolder.records.recorded_epochs`.
    particles, truth
        Particles of the run, and their truth where it is known, as in :class:`Snapshot`.

    Raises
    ------
    InputError
        If a file is missing or damaged, or holds other particles.
    """
    poses = read_poses(folder, epoch)
    if len(poses.used) != particles.n:
        raise InputError(
            f"{folder.poses_path(epoch)} holds poses of {len(poses.used)} particles, not of the "
            f"{particles.n} of the run."
        )
    if not poses.used.any():
        raise InputError(f"{folder.poses_path(epoch)} is damaged: it uses no particles.")
    if truth is not None:
        poses = replace(poses, truth_beside=truth.in_frame_of, has_truth=truth.belongs)
    classes = 1 if poses.class_weights is None else poses.class_weights.shape[1]
    volumes, pixel_size = _read_maps(folder.epoch_map_path(epoch), particles, classes)
    return VolumeUpdated.of(epoch, poses.inference, volumes, pixel_size), poses


def poses_event(
    poses: PoseTable,
    fit: ParticleFit,
    used: NDArray[np.bool_],
    epoch: int,
    inference: Inference,
    pixel_size: float,
    truth: Truth | None,
    *,
    recorded: bool = False,
) -> PosesUpdated:
    """Return a copy of the poses, and which particles (n,) are in use, as an event.

    ``fit`` is how well the map fitted the particles last, ``recorded`` says whether it is what the
    record of an epoch holds.
    """
    told = told_candidates(poses, recorded=recorded)
    return PosesUpdated(
        epoch=epoch,
        inference=inference,
        rotations=poses.rotations.cpu().numpy().copy(),
        shifts=(poses.shifts * pixel_size).cpu().numpy(),
        winner=told.winner,
        losses=poses.losses.cpu().numpy().copy(),
        used=used.copy(),
        candidates=told.rotations,
        candidate_shifts=told.shifts * np.float32(pixel_size),
        candidate_losses=told.losses,
        scales=poses.scales.cpu().numpy().copy(),
        membership=poses.membership.cpu().numpy().copy(),
        by_hand=poses.by_hand.cpu().numpy().copy(),
        found_membership=poses.found_membership.cpu().numpy().copy(),
        log_likelihood=fit.log_likelihood.cpu().numpy().copy(),
        explained=fit.explained.cpu().numpy().copy(),
        candidate_heads=told.heads,
        candidate_counts=told.counts,
        candidate_classes=told.classes,
        classes=poses.classes.cpu().numpy().copy() if poses.n_classes > 1 else None,
        class_weights=poses.class_weights.cpu().numpy().copy() if poses.n_classes > 1 else None,
        truth_beside=truth.in_frame_of if truth else None,
        has_truth=truth.belongs if truth else None,
    )


def _last_maps(
    maps: list[Path], particles: Particles, classes: int, notes: list[str]
) -> tuple[list[NDArray[np.float32]], float]:
    """Return the newest map of each class that can be read, and their Å per pixel."""
    problems = []
    for path in reversed(maps):
        try:
            found = _read_maps(path, particles, classes)
        except InputError as error:
            problems.append(str(error))
        else:
            notes += [f"{text.rstrip('.')}; {path.name} is shown instead." for text in problems]
            return found
    raise InputError(problems[0])


def _read_maps(
    path: Path, particles: Particles, classes: int
) -> tuple[list[NDArray[np.float32]], float]:
    """Return the map of each class; nothing of one that an earlier version wrote no map of."""
    volume, pixel_size = _read_map(path, particles)
    if classes == 1:
        return [volume], pixel_size
    found = []
    for number in range(1, classes + 1):
        own = map_of_class(path, number)
        left_out = path.name == names.MAP and not own.exists()
        found.append(np.zeros_like(volume) if left_out else _read_map(own, particles)[0])
    return found, pixel_size


def _read_map(path: Path, particles: Particles) -> tuple[NDArray[np.float32], float]:
    volume, pixel_size = read_map(path)
    if len(volume) != particles.box:
        raise InputError(
            f"{path} is a map of {len(volume)} px, and particles and settings make "
            f"{particles.box}: it belongs to another run, or settings.toml was changed."
        )
    return volume, pixel_size


def _last_poses(
    folder: RunFolder,
    settings: Settings,
    particles: Particles,
    truth: Truth | None,
    notes: list[str],
) -> PosesUpdated:
    """Return the last poses that can be read: of the last checkpoint, or as they were recorded."""
    found: list[PosesUpdated] = []

    def take(path: Path) -> None:
        state = read_checkpoint(path, torch.device("cpu"))
        clock, poses = (
            require_clock(state, settings),
            require_poses(state, particles.n, settings.model.classes),
        )
        used = require_used(state, particles.n).numpy()
        kind = clock.inference(settings)
        fit = fit_in(state, particles.n)
        found.append(poses_event(poses, fit, used, clock.epoch, kind, particles.pixel_size, truth))

    problem = ""
    try:
        latest(folder.checkpoints()[-1:], take, none=f"{folder.path} holds no checkpoint")
    except InputError as error:
        problem = str(error).split(": delete it")[0].rstrip(".")
    for epoch in reversed(recorded_epochs(folder)):
        # a checkpoint before the last recorded epoch: the run was killed, or its last one is lost
        if found and found[0].epoch > epoch:
            break
        try:
            _, poses = read_epoch(folder, epoch, particles, truth)
        except InputError as error:
            notes.append(f"{str(error).rstrip('.')}: it is left out.")
            continue
        if problem:
            notes.append(f"{problem}; the poses are those recorded after epoch {epoch + 1}.")
        return poses
    if found:
        return found[0]
    raise InputError(f"{problem}, nor poses of an epoch that can be read: resume the run.")
