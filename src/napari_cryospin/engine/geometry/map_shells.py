"""A map's transform in shells of frequency, read anywhere in them, and compared with another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.slices import values_at

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_TINY = 1e-9


class Shells:
    """The frequencies of some shells, of k and −k one.

    Parameters
    ----------
    first, last
        Radii of the shells, inclusive, in units of 1/box.

    Attributes
    ----------
    points
        The frequencies (x, y, z), (m, 3).
    """

    def __init__(self, first: int, last: int) -> None:
        line = np.arange(-last, last + 1)
        points = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
        radius = np.linalg.norm(points, axis=1)
        above = points @ (1e6, 1e3, 1) > 0
        inside = (radius >= first - 0.5) & (radius < last + 0.5) & above
        self.points: NDArray[np.float64] = points[inside].astype(np.float64)
        shell = np.rint(radius[inside]).astype(np.int64) - first
        self._shell = torch.from_numpy(shell)
        # sums over shells are products with this
        self._inside = torch.nn.functional.one_hot(self._shell).float()

    def correlations(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the correlation of values (..., m) about their means in every shell, (..., s)."""
        one, other = self._about_means(one), self._about_means(other)
        product = (one * other.conj()).real @ self._inside
        power = [each.abs().square() @ self._inside for each in (one, other)]
        return product / (power[0] * power[1]).sqrt().clamp(min=_TINY)

    def _about_means(self, values: Tensor) -> Tensor:
        count = self._inside.sum(0)
        means = torch.complex(*(part @ self._inside / count for part in (values.real, values.imag)))
        return values - means[..., self._shell]


class MapTransform:
    """A map's transform, which is read between its points.

    Parameters
    ----------
    volume
        Map, (D, D, D), axes (z, y, x).
    padded
        So many times as wide is the box that it is transformed in.
    """

    def __init__(self, volume: NDArray[np.floating], padded: int = 2) -> None:
        box = len(volume)
        wide = padded * box
        start = (wide - box) // 2
        inside = np.zeros((wide,) * 3, np.float32)
        inside[start : start + box, start : start + box, start : start + box] = volume
        transform = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(inside)))
        both = np.stack((transform.real, transform.imag)).astype(np.float32)
        self._box, self._padded, self._half = box, padded, wide // 2
        self._grid = torch.from_numpy(both)

    def at(self, points: NDArray[np.float64], middle: NDArray[np.float64]) -> Tensor:
        """Return the transform of the map moved to its middle.

        Parameters
        ----------
        points
            Frequencies (x, y, z), in units of 1/box, (..., 3).
        middle
            What lies there comes to the middle of the box, (x, y, z), voxels, (3,).

        Returns
        -------
        Tensor
            Complex, (...).
        """
        # the grid ends one step before its first point comes again
        scale = 1 / (self._half - 0.5)
        where = torch.from_numpy(scale * (self._padded * points + 0.5))
        sampled = values_at(self._grid, where.float().reshape(-1, 3))
        phase = torch.from_numpy(2 * np.pi * points @ middle / self._box).float()
        values = torch.complex(sampled[0], sampled[1]).reshape(phase.shape)
        return values * torch.polar(torch.ones_like(phase), phase)
