"""The state of a run turned to the axes of a symmetry, from which another run goes on with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_axes import symmetry_frame
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map, map_of_grid
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.turning import turned_poses

if TYPE_CHECKING:
    from torch import Tensor

_CPU = torch.device("cpu")


def turned_state(state: dict[str, Any], symmetry: str) -> dict[str, Any]:
    """Return map and poses of a checkpoint as they are on the axes of a point group.

    The map becomes the mean over the turns of the group. Poses have no candidates any more: those
    of a map without the symmetry were of its mates.

    Parameters
    ----------
    state
        The checkpoint.
    symmetry
        Name of the group.
    """
    volume = _volume(state["volume"])
    shown = map_of_grid(volume.grid().detach()).numpy()
    group = point_group(symmetry)
    frame = symmetry_frame(shown, group)
    turned = (replace(frame, rotation=frame.rotation @ turn).turned(shown) for turn in group)
    volume.assign(grid_of_map(torch.from_numpy(np.mean(list(turned), axis=0))))
    poses = PoseTable.empty(len(state["poses"]["losses"]), 0, _CPU)
    poses.load(state["poses"])
    poses = turned_poses(poses, frame)
    poses.with_candidates(0)
    return {"volume": volume.state_dict(), "poses": poses.state()}


def _volume(state: dict[str, Tensor]) -> HartleyVolume:
    """Return the map of a checkpoint."""
    box = len(state["mantissa"]) - 1
    volume = HartleyVolume(box, torch.ones(box), torch.Generator())
    volume.load_state_dict(state)
    return volume
