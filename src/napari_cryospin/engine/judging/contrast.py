"""The sign of a map's density: molecules are denser than what is around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def skewness(volume: Tensor) -> float:
    """Return the skewness of a map (D, D, D): above 0 where few voxels are dense and most are not.

    A map of particles whose contrast is inverted has the opposite sign everywhere.
    """
    deviation = volume.double() - volume.double().mean()
    variance = deviation.square().mean().clamp(min=1e-30)
    return float(deviation.pow(3).mean() / variance**1.5)
