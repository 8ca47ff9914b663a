"""HEALPix in NEST order: the numbers of healpy, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cryospin.engine.geometry.healpix import angles_of_pixels, pixels_of_angles

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
