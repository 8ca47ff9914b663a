"""Poses of a stack by view direction."""

from __future__ import annotations

import healpy
import numpy as np

from napari_cryospin.engine.evaluation.views import winning_head_per_view


def test_each_pixel_has_the_head_that_wins_most_there() -> None:
    up, down = np.array([0, 0, 1.0]), np.array([0, 0, -1.0])
    heads = winning_head_per_view(np.array([up, up, up, down]), np.array([2, 2, 0, 1]), 1)
    pixel_up, pixel_down = healpy.vec2pix(1, *up), healpy.vec2pix(1, *down)
    assert (heads[pixel_up], heads[pixel_down]) == (2, 1)
    assert (np.delete(heads, [pixel_up, pixel_down]) == -1).all()
