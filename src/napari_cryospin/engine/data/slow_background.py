"""Backgrounds of low frequency: measured around the particles, and removed where they are strong.

Where a background that varies slowly outshines all that particles show at these frequencies, a map
learns the background, whose patterns a turn and a shift bring to cover each other.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from napari_cryospin.engine.data.normalise import background
from napari_cryospin.engine.data.ramps import without_ramps

# images that tell whether a stack has such a background, at least
_FEWEST = 20
# it holds so much of the power around the particles, ramps left out, and there is so much power
# around them, as a share of what there is within: what surrounds particles without noise is theirs
_LEAST, _AROUND = 0.05, 0.5
# it is polynomials of up to this degree, waves of up to one and a half periods in the box; each
# holds so many times as much as those of the next degrees, where coloured noise falls off slowly
_DEGREE, _NEXT, _STEEP = 6, 9, 4.0
# of constant and slopes
_LEVEL = 3


def slow_share(images: Tensor, diameter: float) -> float:
    """Return the share of the power around particles that a slow background holds; 0 if little.

    Parameters
    ----------
    images
        Raw images, (n, N, N).
    diameter
        Diameter of the circle that holds the particle, pixels.
    """
    outside = background(images.shape[-1], diameter)
    images = images[images.isfinite().all(2).all(1)]
    if len(images) < _FEWEST:
        return 0.0
    level = without_ramps(images, diameter)
    around = level[:, outside].double()
    around = around - around.mean(1, keepdim=True)
    within = level[:, ~outside].double().var(1).median()
    power = around.square().sum(1)
    some = power > 0
    if not some.any() or around.square().mean(1).median() < _AROUND * within:
        return 0.0
    columns = _polynomials(images.shape[-1], _NEXT)[outside.flatten()]
    if len(columns) < 2 * columns.shape[1]:
        return 0.0
    unit, slow = _orthonormal(columns), _number(_DEGREE)
    held = (around[some] @ unit).square() / power[some, None]
    own, others = held[:, _LEVEL:slow], held[:, slow:]
    # a few images with something else tell nothing
    if own.mean(1).median() < _STEEP * others.mean(1).median():
        return 0.0
    by_chance = own.shape[1] / len(unit)
    share = float(own.sum(1).median()) - by_chance
    return share if share > _LEAST else 0.0


def without_slow(images: Tensor) -> Tensor:
    """Return images (n, N, N) less the slow background that fits the whole of each best.

    What a particle itself shows of it goes as well: where it is removed that is the lesser part.
    """
    unit = _whole(images.shape[-1]).to(images)
    flat = images.flatten(1)
    return (flat - (flat @ unit) @ unit.T).view_as(images)


def _number(degree: int) -> int:
    """Return how many polynomials of x and y there are of up to a degree."""
    return (degree + 1) * (degree + 2) // 2


# a stack is freed of it in chunks
@lru_cache(maxsize=1)
def _whole(box: int) -> Tensor:
    """Return the polynomials that are removed, orthonormal over a box, (N², p)."""
    return _orthonormal(_polynomials(box, _DEGREE)).float()


def _polynomials(box: int, degree: int) -> Tensor:
    """Return polynomials over the pixels of a box, (N², p), those of low degree first."""
    along = np.polynomial.legendre.legvander((np.arange(box) + 0.5) / box * 2 - 1, degree)
    powers = [(i, own - i) for own in range(degree + 1) for i in range(own + 1)]
    made = [np.outer(along[:, i], along[:, j]).ravel() for i, j in powers]
    return torch.from_numpy(np.stack(made, 1))


def _orthonormal(columns: Tensor) -> Tensor:
    """Return columns (m, p) made orthonormal one after the other."""
    unit: Tensor = torch.linalg.qr(columns)[0]
    return unit
