"""Half-maps: two halves of the particles, each back-projected at its poses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from napari_cryospin.engine.data.half_sets import half_sets_of
from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.sums import MapSums

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.state.pose_table import PoseTable


@dataclass(frozen=True)
class HalfMaps:
    """Two halves of the particles in use, and the map of each.

    Their poses come from one reconstruction, with both halves together: the noise of the two maps
    is independent, what the poses have in common is not.

    Parameters
    ----------
    rows
        Rows of the particles of the two halves in the working stack, (m₁,) and (m₂,).
    sums
        Sums of CTF·image and CTF² of each, (2, D+1, D+1, D+1).
    """

    rows: tuple[Tensor, Tensor]
    sums: tuple[Tensor, Tensor]

    @classmethod
    @torch.no_grad()
    def of(
        cls, particles: Particles, poses: PoseTable, used: Tensor, group: Tensor | None = None
    ) -> Self:
        """Return the half-maps of the used particles (n,), bool, with a symmetry (g, 3, 3)."""
        model = ImageModel.within(particles.box, particles.box / 2, particles.device)
        chosen = used.cpu().numpy()
        halves = half_sets_of(particles.table.half_set, particles.rows, chosen)
        one, two = (
            torch.from_numpy(np.flatnonzero(chosen)[halves == number]).to(particles.device)
            for number in (1, 2)
        )
        return cls(
            (one, two),
            (
                back_project(particles, poses, one, model, group),
                back_project(particles, poses, two, model, group),
            ),
        )

    def among(self, chosen: Tensor) -> Self:
        """Return the same maps, with those of the particles that are among some (n,), bool."""
        one, two = (rows[chosen[rows]] for rows in self.rows)
        return replace(self, rows=(one, two))

    @property
    def grids(self) -> tuple[Tensor, Tensor]:
        """Hartley grids of the half-maps, (D+1)³ each."""
        one, two = map(divide, self.sums)
        return one, two


def back_project(
    particles: Particles,
    poses: PoseTable,
    rows: Tensor,
    model: ImageModel,
    group: Tensor | None = None,
    *,
    batch: int = 512,
) -> Tensor:
    """Return the sums of CTF·image and CTF² of particles at their poses, (2, D+1, D+1, D+1).

    A particle's scale multiplies its CTF, and its membership weighs it, as in training.
    """
    sums = MapSums(model, group)
    for part in rows.split(batch):
        seen = particles.observed(
            part, model, scales=poses.scales[part], membership=poses.membership[part]
        )
        sums.add_images(seen, poses.at(part))
    return sums.inserted
