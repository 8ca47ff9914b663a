"""Linear ramps across images: measured on their background, and removed where there are any."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.normalise import background

if TYPE_CHECKING:
    from torch import Tensor

# images that tell whether a stack has ramps, at least
_FEWEST = 20
# ramps hold so many times the power of other noise as slow, and so many deviations more
_MORE, _SURE = 1.5, 5.0
_TINY = 1e-12


def ramp_share(images: Tensor, diameter: float) -> float:
    """Return the share of the power of backgrounds that linear ramps hold; 0 where there are none.

    Coloured noise has a slope by chance as well: what tells ramps is that they hold more power than
    what else varies as slowly, waves of one period in the box from which the slope was taken out.

    Parameters
    ----------
    images
        Raw images, (n, N, N).
    diameter
        Diameter of the circle that holds the particle, pixels.
    """
    pixels, along = _outside(images, diameter)
    pixels = pixels[pixels.isfinite().all(1)]
    pixels = pixels - pixels.mean(1, keepdim=True)
    power = pixels.square().mean(1)
    pixels, power = pixels[power > 0], power[power > 0]
    if len(pixels) < _FEWEST:
        return 0.0
    wave = torch.sin(2 * math.pi * along)
    wave = wave - ((wave * along).sum(1) / along.square().sum(1))[:, None] * along
    shares = []
    for each in (along, wave):
        unit = each / each.square().sum(1, keepdim=True).clamp(min=_TINY).sqrt()
        # of what lies along x and along y
        shares.append((pixels @ unit.T).square().sum(1) / (power * pixels.shape[1]))
    ramp, other = shares
    # a few images with something else tell nothing; two medians of powers scatter by that much
    least = _MORE + _SURE * 2 / len(pixels) ** 0.5
    if ramp.median() <= least * other.median():
        return 0.0
    return float((ramp.mean() - other.mean()).clamp(min=_TINY))


def without_ramps(images: Tensor, diameter: float) -> Tensor:
    """Return images (n, N, N) less the ramp that fits each background best, which has no mean."""
    pixels, along = _outside(images, diameter)
    # the background is as wide to all sides, so that ramps and constants are fitted apart
    slopes = (pixels @ along.T) / along.square().sum(1)
    line = _line(images)
    return images - slopes[:, 0, None, None] * line - slopes[:, 1, None, None] * line[:, None]


def _line(images: Tensor) -> Tensor:
    box = images.shape[-1]
    return (torch.arange(box, dtype=images.dtype) - box // 2) / box


def _outside(images: Tensor, diameter: float) -> tuple[Tensor, Tensor]:
    """Return the backgrounds of images, (n, P), and how far they lie along x and y, (2, P)."""
    box = images.shape[-1]
    outside, line = background(box, diameter), _line(images)
    # the first row and column have no counterpart
    outside = outside.clone()
    outside[0], outside[:, 0] = False, False
    along = torch.stack((line.expand(box, box), line[:, None].expand(box, box)))
    return images[:, outside], along[:, outside]
