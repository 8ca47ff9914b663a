"""Sums: all that goes into a map, whichever inference it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.kernels import PosedImages, inserter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.models.image import ImageModel

# a map of nobody has residuals of 0
_LEAST = 1e-6


class MapSums:
    """Adds particles up for a map: each at one pose, or averages of many at the poses of a grid.

    A map is made of four sums alone: CTF · image and CTF² in every voxel, what the map before left
    of the images at every frequency, and their number. Whatever else may come is one more sum of
    this kind. A particle's mates in a symmetric molecule are added at ``R S`` for every S of the
    group, each with the weight 1/g. Of several maps, or of the two halves of the particles, each
    has sums of its own. What several devices have added up is added up again: ``inserted``,
    ``residual`` and ``n`` by an all-reduce.

    Parameters
    ----------
    model
        Image model of the frequencies in use, K of them.
    group
        Turns after which the map is the same, the identity among them, (g, 3, 3): every particle is
        added at all its mates. By default there are none.

    Attributes
    ----------
    residual
        Sum of |image − CTF · slice|² at every frequency, (K,).
    n
        Number of particles.
    weight
        The same with each counted by its membership.
    """

    def __init__(self, model: ImageModel, group: Tensor | None = None) -> None:
        self._model = model
        self._turns = [None] if group is None or len(group) == 1 else list(group)
        device = model.frequencies.device
        self._inserter = inserter(model.box, device)
        self.residual = torch.zeros(len(model.frequencies), device=device)
        self.n, self.weight = 0, 0.0

    @property
    def inserted(self) -> Tensor:
        """Sums of CTF · image and of CTF² in Hartley grids, (2, D+1, D+1, D+1)."""
        return self._inserter.total()

    def add_images(self, images: Observed, poses: Poses) -> None:
        """Add images at one pose each, weighed by their memberships.

        Parameters
        ----------
        images
            The images as they are, m of them.
        poses
            Their poses, (m,), by whose shifts they are centred.
        """
        seen, frequencies = images.weighed, self._model.frequencies
        root = len(self._turns) ** -0.5
        observed, ctf = root * seen.coefficients, root * seen.ctf
        for turn in self._turns:
            mates = poses if turn is None else Poses(poses.rotations @ turn, poses.shifts)
            self._inserter.add_images(PosedImages(observed, ctf, mates, frequencies))

    def add_averages(self, values: Tensor, weights: Tensor, rotations: Tensor) -> None:
        """Add weighted averages of centred images: CTF · image and CTF² at poses, (p, K) each."""
        share = 1 / len(self._turns)
        values, weights = share * values, share * weights
        for turn in self._turns:
            mates = rotations if turn is None else rotations @ turn
            self._inserter.add(values, weights, mates, self._model.frequencies)

    def count(self, residual: Tensor, membership: Tensor) -> None:
        """Add what is left of particles, which were added or will be.

        Parameters
        ----------
        residual
            Sum of |image − CTF · slice|² over them, by membership, (K,).
        membership
            Their memberships, (m,).
        """
        self.residual = self.residual + residual
        self.n, self.weight = self.n + len(membership), self.weight + float(membership.sum())

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {
            "inserted": self._inserter.state(),
            "residual": self.residual,
            "n": self.n,
            "weight": self.weight,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self._inserter.load_state(state["inserted"])
        self.residual = state["residual"]
        self.n, self.weight = state["n"], state["weight"]


def mean_residual(sums: Iterable[MapSums]) -> Tensor:
    """Return the mean of |image − CTF · slice|² of all that went into maps, (K,)."""
    parts = list(sums)
    power = torch.stack([each.residual for each in parts]).sum(0)
    return power / max(sum(each.weight for each in parts), _LEAST)
