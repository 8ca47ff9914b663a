"""What is usual among the images of a stack: levels and heights that a few images cannot move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.normalise import background

if TYPE_CHECKING:
    from torch import Tensor

# pixels that tell the level of a background
_PIXELS = 512
# the unit of heights is at least this share of the usual deviation: projections have no noise
_LEAST_NOISE = 0.2
# median absolute deviation of a Gaussian to its standard deviation
_GAUSSIAN = 1.4826
_ROUNDS, _FAR = 10, 4.0


@dataclass(frozen=True)
class Usual:
    """What is usual among the raw images of an optics group.

    Parameters
    ----------
    deviation
        Standard deviation of an image, in the unit of the file.
    height
        Distance of the farthest pixel of an image from the background, in :meth:`unit`.
    """

    deviation: float
    height: float

    @classmethod
    def of(cls, raw: Tensor, diameter: float) -> Usual:
        """Return what is usual among raw images (n, N, N), of particles of a diameter in pixels."""
        finite = raw[torch.isfinite(raw).flatten(1).all(1)]
        if not len(finite):
            return cls(0.0, 0.0)
        centre, noise = level(finite, diameter)
        flat = finite.flatten(1)
        bare = cls(float(flat.double().std(1).median()), 0.0)
        heights = height(*flat.aminmax(dim=1), centre) / bare.unit(noise)
        return cls(bare.deviation, float(heights.median()))

    def unit(self, noise: Tensor) -> Tensor:
        """Return the unit of heights of images whose noise is given, (n,)."""
        least = max(_LEAST_NOISE * self.deviation, torch.finfo(torch.float32).tiny)
        return noise.clamp(min=least)


def level(raw: Tensor, diameter: float) -> tuple[Tensor, Tensor]:
    """Return the median and the noise of the background of images.

    The noise is the standard deviation of a Gaussian of the same median absolute deviation. Where
    most pixels share one value, as in counts of few electrons, it is the standard deviation of all
    that is not far beyond it.

    Parameters
    ----------
    raw
        Finite images, shape (n, N, N).
    diameter
        Diameter of the circle that holds the particle, pixels.

    Returns
    -------
    centre, noise
        Shape (n,) each.
    """
    places = background(raw.shape[-1], diameter).flatten().nonzero().flatten()
    pixels = raw.flatten(1)[:, places[:: max(1, len(places) // _PIXELS)]]
    centre = pixels.median(1).values
    distance = (pixels - centre[:, None]).abs()
    noise = _GAUSSIAN * distance.median(1).values
    for i in (noise == 0).nonzero().flatten().tolist():
        noise[i] = _clipped_deviation(distance[i].double())
    return centre, noise


def _clipped_deviation(distance: Tensor) -> float:
    """Return the root mean square of distances, (p,), without those far beyond it."""
    for _ in range(_ROUNDS):
        deviation = float(distance.square().mean().sqrt())
        near = distance[distance <= _FAR * deviation]
        if len(near) == len(distance):
            break
        distance = near
    return deviation


def height(lowest: Tensor, highest: Tensor, centre: Tensor) -> Tensor:
    """Return how far the farthest pixel of images is from their centres, all of shape (n,)."""
    return torch.maximum(highest - centre, centre - lowest)
