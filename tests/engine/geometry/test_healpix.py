"""HEALPix: the numbers of healpy, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cryospin.engine.geometry.healpix import (
    angles_of_pixels,
    nest_of_ring,
    pixels_of_angles,
    ring_pixels_near,
)

LEVELS = [1, 2, 4, 8, 16, 64, 256]


@pytest.mark.parametrize("nside", LEVELS)
def test_centres_are_those_of_healpy(nside: int) -> None:
    healpy = pytest.importorskip("healpy")
    pixels = np.arange(12 * nside**2)
    found, expected = angles_of_pixels(pixels, nside), healpy.pix2ang(nside, pixels, nest=True)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("nside", LEVELS)
def test_directions_lie_in_the_pixels_of_healpy(nside: int) -> None:
    healpy = pytest.importorskip("healpy")
    rng = np.random.default_rng(nside)
    near = np.abs(rng.normal(0, 0.01, 2000))
    tilt = np.concatenate((np.arccos(rng.uniform(-1, 1, 20_000)), near, np.pi - near))
    # directions between pixels, and longitudes outside one turn
    tilt = np.concatenate((tilt, [0, np.pi, np.pi / 2, np.arccos(2 / 3), np.arccos(-2 / 3)] * 9))
    rot = np.concatenate((rng.uniform(-10, 10, 24_000), np.repeat(np.arange(9) * np.pi / 4, 5)))
    found = pixels_of_angles(tilt, rot, nside)
    assert np.array_equal(found, healpy.ang2pix(nside, tilt, rot, nest=True))


@pytest.mark.parametrize("nside", LEVELS)
def test_every_centre_lies_in_its_pixel(nside: int) -> None:
    pixels = np.arange(12 * nside**2)
    assert np.array_equal(pixels_of_angles(*angles_of_pixels(pixels, nside), nside), pixels)


@pytest.mark.parametrize("nside", LEVELS)
def test_the_ring_order_is_that_of_healpy(nside: int) -> None:
    healpy = pytest.importorskip("healpy")
    assert np.array_equal(nest_of_ring(nside), healpy.ring2nest(nside, np.arange(12 * nside**2)))
    values = np.random.default_rng(0).normal(size=12 * nside**2)
    assert np.array_equal(values[nest_of_ring(nside)], healpy.reorder(values, n2r=True))


@pytest.mark.parametrize("nside", [1, 2, 4, 8, 16])
def test_discs_are_those_of_healpy(nside: int) -> None:
    healpy = pytest.importorskip("healpy")
    directions = np.random.default_rng(nside).normal(size=(100, 3))
    for direction in np.concatenate((directions, [[0, 0, 1], [0, 0, -2.0]])):
        for radius in (0.3, 89 / nside, 61.0):  # no centre is just at the edge
            found = ring_pixels_near(direction, radius, nside)
            assert np.array_equal(found, healpy.query_disc(nside, direction, np.radians(radius)))
