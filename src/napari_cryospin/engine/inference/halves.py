"""Half-maps: two halves of the particles, each back-projected at its poses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from napari_cryospin.engine.models.backprojection import divide
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.sums import MapSums

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.inference.poses import PoseTable


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
    def of(cls, stack: WorkingStack, poses: PoseTable, used: Tensor) -> Self:
        """Return the half-maps of the used particles (n,), bool."""
        model = ImageModel.within(stack.box, stack.box / 2, stack.images.device)
        chosen = used.cpu().numpy()
        halves = half_sets(stack.table.half_set, stack.rows[chosen])
        one, two = (
            torch.from_numpy(np.flatnonzero(chosen)[halves == number]).to(stack.images.device)
            for number in (1, 2)
        )
        return cls(
            (one, two),
            (back_project(stack, poses, one, model), back_project(stack, poses, two, model)),
        )

    @property
    def grids(self) -> tuple[Tensor, Tensor]:
        """Hartley grids of the half-maps, (D+1)³ each."""
        one, two = map(divide, self.sums)
        return one, two


def half_sets(given: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the half-set (1 or 2) of each row: the table's own, or alternating."""
    if given is not None and set(np.unique(given[rows])) == {1, 2}:
        return given[rows]
    return np.arange(len(rows)) % 2 + 1


def back_project(
    stack: WorkingStack, poses: PoseTable, rows: Tensor, model: ImageModel, *, batch: int = 512
) -> Tensor:
    """Return the sums of CTF·image and CTF² of particles at their poses, (2, D+1, D+1, D+1).

    A particle's scale multiplies its CTF, as in training.
    """
    sums = MapSums(model)
    for part in rows.split(batch):
        observed = model.coefficients(stack.images[part])
        ctf = stack.ctf(part, model.frequencies) * poses.scales[part, None]
        sums.add_images(observed, ctf, poses.rotations[part], poses.shifts[part])
    return sums.inserted
