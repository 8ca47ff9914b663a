"""The state of a run folder as events: what a window needs to show a run that it did not watch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.load import of_settings
from napari_cryospin.engine.data.preprocess import WorkingStack, prepare
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.inference.poses import PoseTable
from napari_cryospin.engine.inference.switching import SwitchFigures
from napari_cryospin.engine.run.clock import Clock
from napari_cryospin.engine.run.events import EpochDone, PosesUpdated, VolumeUpdated
from napari_cryospin.engine.run.records import poses_path, read_poses
from napari_cryospin.engine.run.truth import Truth
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.run.folder import RunFolder
    from napari_cryospin.engine.settings import Settings


@dataclass(frozen=True)
class Snapshot:
    """A run as its folder tells it: settings, particles, past epochs, last map and last poses.

    ``truth`` is None where it is not known.
    """

    settings: Settings
    stack: WorkingStack
    history: tuple[EpochDone, ...]
    volume: VolumeUpdated
    poses: PosesUpdated
    truth: Truth | None


def read_snapshot(folder: RunFolder, stack: WorkingStack | None = None) -> Snapshot:
    """Read a run folder, finished or not.

    Parameters
    ----------
    folder
        The run folder.
    stack
        Its particles, where they have been read already.

    Raises
    ------
    InputError
        If the folder holds no run or no map yet, its checkpoint has another format, or the
        particles have gone.
    """
    settings = folder.settings()
    if settings.data.stack is None:
        raise InputError(f"{folder.settings_path} names no particle stack.")
    maps = maps_of(folder)
    if not maps:
        raise InputError(f"{folder.path} holds no map yet: wait for its first epoch.")
    if stack is None:
        stack = prepare(of_settings(settings.data), settings.data)
    checkpoint = folder.read_checkpoint(torch.device("cpu"))
    clock, poses = Clock(**checkpoint["clock"]), PoseTable(**checkpoint["poses"])
    used = checkpoint["used"].numpy()
    kind = clock.inference(settings)
    truth = Truth.of(settings.data, stack)
    epoch = max(clock.epoch - 1, 0)
    volume, pixel_size = read_map(maps[-1])
    return Snapshot(
        settings,
        stack,
        tuple(_epoch_done(row) for row in folder.metrics()),
        VolumeUpdated(epoch, kind, volume, pixel_size),
        poses_event(poses, used, clock.epoch, kind, stack.pixel_size, truth),
        truth,
    )


def read_epoch(
    folder: RunFolder, epoch: int, stack: WorkingStack, truth: Truth | None
) -> tuple[VolumeUpdated, PosesUpdated]:
    """Read what was recorded of an epoch of a run.

    Parameters
    ----------
    folder
        The run folder.
    epoch
        One of :func:`~.records.recorded_epochs`.
    stack, truth
        Particles of the run, and their truth where it is known, as in :class:`Snapshot`.

    Raises
    ------
    InputError
        If a file is missing or damaged, or holds other particles.
    """
    poses = read_poses(folder, epoch)
    if len(poses.used) != stack.n:
        raise InputError(
            f"{poses_path(folder, epoch)} holds poses of {len(poses.used)} particles, not of the "
            f"{stack.n} of the run."
        )
    if truth is not None:
        poses = replace(poses, truth=truth.in_frame_of(poses.rotations, poses.used))
    volume, pixel_size = read_map(folder.path / "volumes" / f"epoch_{epoch:04d}.mrc")
    return VolumeUpdated(epoch, poses.inference, volume, pixel_size), poses


def poses_event(
    poses: PoseTable,
    used: NDArray[np.bool_],
    epoch: int,
    inference: Inference,
    pixel_size: float,
    truth: Truth | None,
) -> PosesUpdated:
    """Return a copy of the poses, and which particles (n,) are in use, as an event."""
    rotations = poses.rotations.cpu().numpy().copy()
    return PosesUpdated(
        epoch=epoch,
        inference=inference,
        rotations=rotations,
        shifts=(poses.shifts * pixel_size).cpu().numpy(),
        winning_head=poses.winning_head.cpu().numpy().copy(),
        losses=poses.losses.cpu().numpy().copy(),
        used=used.copy(),
        candidates=poses.candidates.cpu().numpy().copy(),
        candidate_shifts=(poses.candidate_shifts * pixel_size).cpu().numpy(),
        candidate_losses=poses.candidate_losses.cpu().numpy().copy(),
        truth=truth.in_frame_of(rotations, used) if truth else None,
    )


def maps_of(folder: RunFolder) -> list[Path]:
    """Return the maps of a run, the newest last: a resumed run has a map older than its epochs'."""
    maps = [*(folder.path / "volumes").glob("epoch_*.mrc"), folder.map_path]
    found = [path for path in maps if path.exists()]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def _switch(row: dict[str, str]) -> SwitchFigures | None:
    if not row["winner_in_best_mode"]:
        return None
    threshold = row["switch_threshold_nats"]
    return SwitchFigures(
        gain=float(row["held_out_gain_nats"]),
        threshold=float(threshold) if threshold else None,
        winner_in_best_mode=float(row["winner_in_best_mode"]),
        amortization_gap=float(row["amortization_gap"]),
    )


def _epoch_done(row: dict[str, str]) -> EpochDone:
    def figure(name: str) -> float | None:
        return float(row[name]) if row[name] else None

    loss = figure("loss")
    return EpochDone(
        epoch=int(row["epoch"]),
        inference=Inference(row["inference"]),
        stage=int(row["stage"]) - 1,
        start=int(row["start"]) - 1,
        held_out_gain=figure("held_out_gain_nats"),
        switch=_switch(row),
        loss=math.nan if loss is None else loss,
        head_share=tuple(float(share) for share in row["head_share"].split()),
        median_pose_error=figure("median_pose_error_deg"),
        mean_pose_error=figure("mean_pose_error_deg"),
        resolution=figure("resolution_angstrom"),
        seconds=float(row["seconds"]),
    )
