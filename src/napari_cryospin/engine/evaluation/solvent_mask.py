"""A soft mask around the molecule of a map, made of the map alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

# the molecule is what a map has at this frequency radius, in units of 1/box
_RADIUS = 6.0
# rounds in which the threshold settles between molecule and solvent, and the share of the way up
# from the solvent at which it then lies: a part that is weak belongs
_ROUNDS, _SHARE = 50, 0.35
# parts of the molecule are no smaller than this share of the largest
_LEAST_PART = 0.1
# pixels by which the mask is wider, and over which it ends, as shares of the box
_WIDER, _EDGE = 0.05, 0.1


def solvent_mask(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a mask that is 1 on the molecule and falls to 0 around it, (D, D, D).

    As EMDB and RELION make theirs: the map is low-passed and cut off at a threshold, what remains
    is made wider, and its edge soft. The threshold is halfway between the means of what lies above
    it and below (Ridler and Calvard 1978), lowered for weak parts.
    """
    box = len(volume)
    frequency = np.fft.fftfreq(box, 1 / box)
    radius2 = frequency[:, None, None] ** 2 + frequency[:, None] ** 2 + frequency**2
    smooth = np.fft.ifftn(np.fft.fftn(volume) * np.exp(-radius2 / (2 * (_RADIUS / 2) ** 2))).real
    x = np.arange(box) - box // 2
    inside = x[:, None, None] ** 2 + x[:, None] ** 2 + x**2 <= (box / 2) ** 2
    core = inside & (smooth > _threshold(smooth[inside]))
    core = ndimage.binary_fill_holes(_large_parts(core))
    away = ndimage.distance_transform_edt(~core) if core.any() else np.zeros_like(smooth)
    wider, edge = max(_WIDER * box, 1.0), max(_EDGE * box, 3.0)
    ramp = np.clip((away - wider) / edge, 0, 1)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * ramp), dtype=np.float32)


def _threshold(values: NDArray[np.float64]) -> float:
    """Return what tells the molecule from the solvent."""
    level = float(values.mean())
    low = high = level
    for _ in range(_ROUNDS):
        above = values > level
        if above.all() or not above.any():
            return level
        low, high = float(values[~above].mean()), float(values[above].mean())
        level = (low + high) / 2
    return low + _SHARE * (high - low)


def _large_parts(core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask without its small parts."""
    labels, n = ndimage.label(core)
    if n < 2:
        return core
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept: NDArray[np.bool_] = (sizes >= _LEAST_PART * sizes.max())[labels]
    return kept
