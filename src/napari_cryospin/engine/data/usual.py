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
# images with a smaller share of numbers tell nothing; in others so many pixels may be wild
_LEAST_KNOWN, _WILD = 0.5, 3
# what is so many times farther than the others is
_BEYOND = 2.0
# no detector counts so far, and single precision overflows soon after
_LARGEST = 1e36


@dataclass(frozen=True)
class Usual:
    """What is usual among the raw images of an optics group.

    Parameters
    ----------
    deviation
        Standard deviation of an image, in the unit of the file.
    height
        Distance of the farthest pixels of an image, but for a few wild ones, from the background,
        in :meth:`unit`.
    """

    deviation: float
    height: float

    @classmethod
    def of(cls, raw: Tensor, diameter: float) -> Usual:
        """Return what is usual among raw images (n, N, N), of particles of a diameter in pixels."""
        flat, known = raw.flatten(1), is_number(raw).flatten(1)
        whole = known.float().mean(1) > _LEAST_KNOWN
        if not whole.any():
            return cls(0.0, 0.0)
        filled = torch.where(known, flat, torch.nan)[whole]
        filled = torch.where(known[whole], filled, filled.nanmedian(1, keepdim=True).values)
        centre, noise = level(filled.reshape(-1, *raw.shape[1:]), diameter)
        # the farthest few pixels may be wild in every image, as stamped corners are
        few = min(max(_WILD, flat.shape[1] // 1000), flat.shape[1] // 100)
        distance = filled - centre[:, None]
        bound = _BEYOND * distance.abs().topk(few + 1, dim=1).values[:, -1]
        tamed = distance.clamp(-bound[:, None], bound[:, None])
        bare = cls(float(tamed.double().std(1).median()), 0.0)
        return cls(bare.deviation, float((tamed.abs().amax(1) / bare.unit(noise)).median()))

    def unit(self, noise: Tensor) -> Tensor:
        """Return the unit of heights of images whose noise is given, (n,)."""
        least = max(_LEAST_NOISE * self.deviation, torch.finfo(torch.float32).tiny)
        return noise.clamp(min=least)


def is_number(raw: Tensor) -> Tensor:
    """Return which values, of any shape, are numbers to compute with: finite and not too large."""
    # NaN is not below anything
    return raw.abs() < _LARGEST


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
