"""Poses of a stack by view direction."""

from __future__ import annotations

import numpy as np

from napari_cryospin.engine.evaluation.views import repeated, views_nside, winner_per_view
from napari_cryospin.engine.geometry.sphere import directions_of_pixels, pixels_of_directions


def test_each_pixel_has_the_head_that_wins_most_there() -> None:
    up, down = np.array([0, 0, 1.0]), np.array([0, 0, -1.0])
    heads = winner_per_view(np.array([up, up, up, down]), np.array([2, 2, 0, 1]), 1)
    pixel_up, pixel_down = pixels_of_directions(np.array([up, down]), 1)
    assert (heads[pixel_up], heads[pixel_down]) == (2, 1)
    assert (np.delete(heads, [pixel_up, pixel_down]) == -1).all()


def test_views_of_a_grid_are_drawn_no_finer_than_the_grid() -> None:
    grid = directions_of_pixels(4)
    drawn = np.random.default_rng(0).integers(len(grid), size=3000)
    assert views_nside(grid[drawn]) == 4


def test_views_are_drawn_as_finely_as_they_are_many() -> None:
    directions = np.random.default_rng(0).normal(size=(3000, 3))
    assert views_nside(directions) == 8
    assert views_nside(directions[:300]) == 4
    assert views_nside(directions[:1]) == 2


def test_coarse_pixels_are_repeated() -> None:
    values = np.arange(12)
    assert np.bincount(repeated(values, 4)).tolist() == [16] * 12
    near_the_pole = np.array([[0.0, 0.1, 1.0]])
    fine, coarse = (pixels_of_directions(near_the_pole, nside) for nside in (4, 1))
    assert repeated(values, 4)[fine] == values[coarse]
