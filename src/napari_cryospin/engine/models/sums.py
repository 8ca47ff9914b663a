"""Sums: all that goes into a map, whichever inference it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.kernels import PosedImages, inserter

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.models.image import ImageModel


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

    Attributes
    ----------
    residual
        Sum of |image − CTF · slice|² at every frequency, (K,).
    n
        Number of particles.
    """

    def __init__(self, model: ImageModel) -> None:
        self._model = model
        device = model.frequencies.device
        self._inserter = inserter(model.box, device)
        self.residual = torch.zeros(len(model.frequencies), device=device)
        self.n = 0

    @property
    def inserted(self) -> Tensor:
        """Sums of CTF · image and of CTF² in Hartley grids, (2, D+1, D+1, D+1)."""
        return self._inserter.total()

    @property
    def mean_residual(self) -> Tensor:
        """Mean of |image − CTF · slice|² at every frequency, (K,)."""
        return self.residual / self.n

    def add_images(self, observed: Tensor, ctf: Tensor, poses: Poses) -> None:
        """Add images at one pose each.

        Parameters
        ----------
        observed, ctf
            Coefficients of the images, and their CTFs times their scales, (m, K).
        poses
            Their poses, (m,), by whose shifts they are centred.
        """
        self._inserter.add_images(PosedImages(observed, ctf, poses, self._model.frequencies))

    def add_averages(self, values: Tensor, weights: Tensor, rotations: Tensor) -> None:
        """Add weighted averages of centred images: CTF · image and CTF² at poses, (p, K) each."""
        self._inserter.add(values, weights, rotations, self._model.frequencies)

    def count(self, residual: Tensor, n: int) -> None:
        """Add what is left of so many particles, (K,), which were added or will be."""
        self.residual = self.residual + residual
        self.n += n

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"inserted": self._inserter.state(), "residual": self.residual, "n": self.n}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self._inserter.load_state(state["inserted"])
        self.residual, self.n = state["residual"], state["n"]
