"""Turning poses into the frame of a point group, as a map is turned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame
    from napari_cryospin.engine.state.pose_table import PoseTable


def turned_poses(poses: PoseTable, frame: SymmetryFrame) -> PoseTable:
    """Return poses and candidates of a map as they are of the map turned to a frame.

    A pose R becomes R U, and its shift loses what the middle of the frame has in the image.

    Parameters
    ----------
    poses
        The poses; they stay as they are.
    frame
        The frame that the map is turned to.
    """
    like = poses.shifts
    turn = torch.from_numpy(frame.rotation).to(like)
    middle = torch.from_numpy(frame.middle).to(like)

    def moved(rotations: Tensor, shifts: Tensor) -> Tensor:
        return shifts - (rotations @ middle)[..., :2]

    return replace(
        poses,
        rotations=poses.rotations @ turn,
        shifts=moved(poses.rotations, poses.shifts),
        candidates=poses.candidates @ turn,
        candidate_shifts=moved(poses.candidates, poses.candidate_shifts),
    )
