"""Pixels of the sphere are the same by healpy, by astropy-healpix and in the engine's own order."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.geometry import healpix, sphere
from napari_cryospin.engine.packages import MissingPackage

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS = [1, 2, 8, 16, 64]


@pytest.fixture(autouse=True)
def looked_for_anew() -> Iterator[None]:
    sphere.healpix_library.cache_clear()
    yield
    sphere.healpix_library.cache_clear()


@pytest.fixture(params=["healpy", "astropy_healpix.healpy"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the library in use; healpy is hidden where the other one is asked for."""
    pytest.importorskip(request.param)
    if request.param != "healpy":
        monkeypatch.setitem(sys.modules, "healpy", None)
    assert sphere.healpix_library().__name__ == request.param
    return str(request.param)


def directions() -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(20_000, 3))
    drawn[:2000] *= (0.01, 0.01, 1)  # around the poles
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("nside", LEVELS)
def test_centres_are_the_engines(library: str, nside: int) -> None:
    pixels = np.arange(12 * nside**2)
    for nest, own in ((True, pixels), (False, healpix.nest_of_ring(nside))):
        found = sphere.angles_of_pixels(pixels, nside, nest=nest)
        assert np.allclose(found, healpix.angles_of_pixels(own, nside), rtol=0, atol=1e-13)
    tilt, rot = sphere.angles_of_pixels(pixels, nside)
    expected = np.stack((np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)), 1)
    assert np.allclose(sphere.directions_of_pixels(nside), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("nside", LEVELS)
def test_directions_lie_in_the_engines_pixels(library: str, nside: int) -> None:
    x, y, z = directions().T
    tilt, rot = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    expected = healpix.pixels_of_angles(tilt, rot, nside)
    assert np.array_equal(sphere.pixels_of_directions(directions(), nside, nest=True), expected)
    ring = sphere.pixels_of_directions(directions(), nside)
    assert np.array_equal(healpix.nest_of_ring(nside)[ring], expected)
    assert np.array_equal(sphere.pixels_of_angles(tilt, rot, nside), ring)


@pytest.mark.parametrize("nside", [1, 2, 8])
def test_corners_are_around_their_pixels(library: str, nside: int) -> None:
    corners = sphere.corners_of_pixels(nside)
    pixels = np.arange(12 * nside**2)
    assert corners.shape == (len(pixels), 4, 3)
    # a little inwards from a corner is still in the pixel
    inside = 0.98 * corners + 0.02 * sphere.directions_of_pixels(nside)[:, None]
    found = sphere.pixels_of_directions(inside.reshape(-1, 3), nside)
    assert np.array_equal(found, np.repeat(pixels, 4))


@pytest.mark.parametrize("nside", [1, 2, 8, 16])
def test_corners_are_in_one_order_by_both(nside: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("healpy", "astropy_healpix"):
        pytest.importorskip(name)
    by_healpy = sphere.corners_of_pixels(nside)
    sphere.healpix_library.cache_clear()
    monkeypatch.setitem(sys.modules, "healpy", None)
    assert np.allclose(sphere.corners_of_pixels(nside), by_healpy, rtol=0, atol=1e-13)


def test_without_a_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in sphere.LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackage, match=r'healpy or .*not installed.*cryospin\[all\]"'):
        sphere.directions_of_pixels(1)
