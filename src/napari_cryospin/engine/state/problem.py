"""What every inference works on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.symmetry import point_group

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.models.volume import Map
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.state.pose_table import PoseTable


@dataclass(frozen=True)
class Problem:
    """What every inference works on, in place.

    Parameters
    ----------
    particles
        Particles on the training device.
    volume
        The map.
    poses
        Poses of all particles.
    held_out
        Particles that the map must not learn from, bool, (n,).
    model
        Model settings.
    seed
        Seed of the run.
    """

    particles: Particles
    volume: Map
    poses: PoseTable
    held_out: Tensor
    model: ModelSettings
    seed: int

    @cached_property
    def group(self) -> Tensor:
        """Turns after which the map is the same, the identity among them, (g, 3, 3)."""
        return torch.from_numpy(point_group(self.model.symmetry)).float().to(self.device)

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        return self.particles.device

    def observed(self, rows: Tensor, model: ImageModel) -> Observed:
        """Return particles ``rows`` (m,), centred by their present shifts, with their scales."""
        poses = self.poses
        return self.particles.observed(
            rows,
            model,
            scales=poses.scales[rows],
            shifts=poses.shifts[rows],
            membership=poses.membership[rows],
            by_hand=poses.by_hand[rows],
        )


def evenly_spread(rows: Tensor, most: int) -> Tensor:
    """Return rows (m,), or ``most`` of them, evenly spread, where there are more."""
    places = torch.linspace(0, len(rows) - 1, min(most, len(rows))).long()
    return rows[places.to(rows.device)]
