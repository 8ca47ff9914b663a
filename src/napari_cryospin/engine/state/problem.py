"""What every inference works on."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    others
        Maps of further classes, where there are several.
    part
        Particles that it is about, bool, (n,), where these are one half; None: all of them.
    """

    particles: Particles
    volume: Map
    poses: PoseTable
    held_out: Tensor
    model: ModelSettings
    seed: int
    others: tuple[Map, ...] = ()
    part: Tensor | None = None

    @cached_property
    def group(self) -> Tensor:
        """Turns after which the map is the same, the identity among them, (g, 3, 3)."""
        return torch.from_numpy(point_group(self.model.symmetry)).float().to(self.device)

    @property
    def maps(self) -> tuple[Map, ...]:
        """The map of each class, C of them."""
        return self.volume, *self.others

    @property
    def grids(self) -> Tensor:
        """Hartley grids of all maps as they are, (C, D+1, D+1, D+1)."""
        return torch.stack([each.grid().detach() for each in self.maps])

    def of_class(self, number: int) -> Problem:
        """Return the problem of a class alone: its map, and its particles' memberships."""
        alone = replace(self, volume=self.maps[number], others=())
        return replace(alone, poses=self.poses.of_class(number)) if self.others else self

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        return self.particles.device

    @property
    def rows(self) -> Tensor:
        """Rows of the particles that it is about, (≤ n,)."""
        rows = torch.arange(self.particles.n, device=self.device)
        return rows if self.part is None else rows[self.part]

    @property
    def members(self) -> Tensor:
        """Particles that it is about which are likely to show the map's, bool, (n,)."""
        members = self.poses.members
        return members if self.part is None else members & self.part

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
