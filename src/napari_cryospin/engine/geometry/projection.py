"""Accurate projections of a map: twofold zero padding makes the interpolation error negligible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.fourier import hartley_grid_from_map, interpolation_window
from napari_cryospin.engine.geometry.slices import central_slices

if TYPE_CHECKING:
    from torch import Tensor

_PADDING = 2


class Projector:
    """Projects a map along any direction, in Hartley space.

    Parameters
    ----------
    volume
        Map (D, D, D), (z, y, x); D even.
    """

    def __init__(self, volume: Tensor) -> None:
        box = volume.shape[-1]
        margin = (_PADDING - 1) * box // 2
        padded = torch.nn.functional.pad(volume.float(), (margin, margin) * 3)
        window = interpolation_window(_PADDING * box, volume.device)
        # the grid is scaled for images of its own side; these have side D
        self._grid = _PADDING * hartley_grid_from_map(padded / window)

    def slices(self, rotations: Tensor, frequencies: Tensor) -> Tensor:
        """Return the unitary Hartley coefficients of projections.

        Parameters
        ----------
        rotations
            Euler matrices, shape (n, 3, 3).
        frequencies
            Frequencies (kx, ky) in units of 1/D, shape (K, 2).

        Returns
        -------
        Tensor
            Shape (n, K).
        """
        return central_slices(self._grid, rotations, _PADDING * frequencies)
