"""A sphere of glass with a posterior on it: clear where there is no probability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# part of the colour map that is seen on a dark canvas and on a light one
_FIRST_COLOUR, _LAST_COLOUR = 0.25, 0.93
_GREY = 0.5
# opacity of the glass seen face on, what is added towards its edge, and how that rises
_GLASS, _EDGE, _EDGE_POWER = 0.05, 0.6, 4
# how much of the patches and of the glass of the far side shines through
_FAR_PATCH, _FAR_GLASS = 0.4, 0.3


def lookup_table(colormap_colours: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return RGBA colours of levels, opacity rising from 0 to 1, from a colour map's (n, 4)."""
    n = len(colormap_colours)
    shown = np.linspace(_FIRST_COLOUR, _LAST_COLOUR, n) * (n - 1)
    table = np.asarray(colormap_colours, dtype=np.float32)[shown.astype(np.intp)].copy()
    table[:, 3] = np.linspace(0, 1, n)
    return table


def glass_colours(
    values: NDArray[np.floating],
    limits: tuple[float, float],
    facing: NDArray[np.floating],
    table: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the RGBA colours of the pixels of a sphere of glass, shape (n, 4).

    Parameters
    ----------
    values
        Values of the pixels, shape (n,).
    limits
        Values at which a patch is clear and opaque.
    facing
        Cosine of the angle between each pixel's direction and that towards the eye, shape (n,).
    table
        See :func:`lookup_table`.
    """
    low, high = limits
    level = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    patch = table[(level * (len(table) - 1)).astype(np.intp)]
    near = facing > 0
    opacity = patch[:, 3] * np.where(near, 1, _FAR_PATCH)
    glass = (_GLASS + _EDGE * (1 - np.abs(facing)) ** _EDGE_POWER) * np.where(near, 1, _FAR_GLASS)
    behind = glass * (1 - opacity)
    total = opacity + behind
    mixed = patch[:, :3] * opacity[:, None] + _GREY * behind[:, None]
    return np.column_stack((mixed / total[:, None], total)).astype(np.float32)
