"""Normalise images by their background, the pixels outside the mask, as RELION does."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# a background that varies less than this, as a fraction of the image, holds no noise
_NOISE_FREE = 1e-5


def radius_squared(box: int) -> Tensor:
    """Return the squared distance (pixels) from pixel box//2, shape (box, box)."""
    x = torch.arange(box) - box // 2
    return x[:, None] ** 2 + x**2


def background(box: int, diameter: float) -> Tensor:
    """Return which pixels, (box, box), lie outside a circle (diameter in pixels, ≤ box)."""
    return radius_squared(box) > (min(diameter, box) / 2) ** 2


def normalise(images: Tensor, diameter: float) -> tuple[Tensor, Tensor, Tensor]:
    """Give the background of each image mean 0 and standard deviation 1.

    Images whose background holds no noise (projections of a map, say) are divided by their own
    standard deviation instead.

    Parameters
    ----------
    images
        Shape (n, N, N).
    diameter
        Diameter of the circle that holds the particle, pixels.

    Returns
    -------
    images
        Shape (n, N, N).
    noisy
        Which of them have noise in the background, shape (n,), bool.
    scale
        What each was divided by, shape (n,).
    """
    pixels = images[:, background(images.shape[-1], diameter)].double()
    deviation = pixels.std(1)
    noisy = deviation > _NOISE_FREE * images.flatten(1).std(1)
    if not noisy.all():
        deviation[~noisy] = images[~noisy].double().std((1, 2))
    mean, scale = pixels.mean(1).float(), deviation.float()
    return (images - mean[:, None, None]) / scale[:, None, None], noisy, scale


def soft_mask(box: int, diameter: float) -> Tensor:
    """Return a circular mask with a cosine edge, shape (box, box), float32.

    It is 1 inside the diameter (pixels) and falls to 0 over a few pixels, all within the box.
    """
    edge = max(3.0, 0.05 * box)
    outer = min(diameter / 2 + edge, box / 2)
    depth = (outer - radius_squared(box).sqrt()) / edge
    return 0.5 - 0.5 * torch.cos(math.pi * depth.clamp(0, 1))
