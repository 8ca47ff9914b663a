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

    from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame

_CPU = torch.device("cpu")


def turned_state(
    state: dict[str, Any], symmetry: str, frame: SymmetryFrame | None = None
) -> dict[str, Any]:
    """Return maps and poses of a checkpoint as they are on the axes of a point group.

    Each class's map becomes the mean over the turns of the group. Poses have no candidates any
    more: those of a map without the symmetry were of its mates.

    Parameters
    ----------
    state
        The checkpoint.
    symmetry
        Name of the group.
    frame
        Where its axes are in the map, where that is known and there is one map; they are sought
        otherwise.
    """
    group, maps = point_group(symmetry), [_volume(each) for each in state["maps"]]
    before = PoseTable.empty(len(state["poses"]["losses"]), 0, _CPU)
    before.load(state["poses"])
    before.with_candidates(0)
    poses = replace(before, rotations=before.rotations.clone(), shifts=before.shifts.clone())
    for number, volume in enumerate(maps):
        shown = map_of_grid(volume.grid().detach()).numpy()
        own = frame if frame is not None and len(maps) == 1 else symmetry_frame(shown, group)
        turned = (replace(own, rotation=own.rotation @ turn).turned(shown) for turn in group)
        volume.assign(grid_of_map(torch.from_numpy(np.mean(list(turned), axis=0))))
        rows = (before.classes == number).nonzero().flatten()
        poses.set_at(rows, turned_poses(before, own).at(rows))
    return {"maps": [volume.state_dict() for volume in maps], "poses": poses.state()}


def _volume(state: dict[str, Tensor]) -> HartleyVolume:
    """Return the map of a checkpoint."""
    box = len(state["mantissa"]) - 1
    volume = HartleyVolume(box, torch.ones(box), torch.Generator())
    volume.load_state_dict(state)
    return volume
