"""Which point groups a map may have: its axes are sought, and put together to groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.geometry.healpix import angles_of_pixels
from napari_cryospin.engine.geometry.map_shells import MapTransform
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_axes import FrameSearch, centre_of_mass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame

MOST_FOLD = 12
"""Axes of more turns than these are not looked for."""
# directions that an axis may have, and the circles around it that are compared: radii, how many of
# each over half a sphere, points on each
_NSIDE, _RADII, _CIRCLES, _AROUND = 16, (2, 3, 4, 5, 6, 7, 8), 12, 72
# axes of one kind that are looked at, and degrees between two of them
_AXES, _APART = 3, 20.0
# correlation after the turns of an axis from which on it is one
_LEAST = 0.5
# degrees between frames about an axis, and how many of them are refined
_STEP, _REFINED = 4.0, 2
# groups that have axes of several kinds beside one of the highest
_SEVERAL = {3: ("T",), 4: ("O",), 5: ("I",)}


def likely_groups(
    volume: NDArray[np.floating], larger_than: int = 1
) -> list[tuple[str, SymmetryFrame]]:
    """Return the point groups that a map may have, the largest first, each in its best frame.

    Every direction is tried as an axis of 2 to 12 turns, by the map's transform on circles around
    it: the power of every harmonic tells at once what all turns leave. The best axes of each kind
    are axes of the groups that have them, whose frames turn about them alone.

    Parameters
    ----------
    volume
        Map, (D, D, D), axes (z, y, x).
    larger_than
        Groups of no more turns than this are left out.
    """
    search, found = FrameSearch(volume), []
    axes = _axes(volume)
    for fold, directions in axes.items():
        for name in (f"C{fold}", f"D{fold}", *_SEVERAL.get(fold, ())):
            group = point_group(name)
            if len(group) <= larger_than:
                continue
            frames = np.concatenate([_frames(name, group, fold, each) for each in directions])
            if search.promises(frames, group):
                found.append((name, search.best(frames, group, _REFINED)))
    return sorted(found, key=lambda each: (-len(point_group(each[0])), -each[1].correlation))


def _axes(volume: NDArray[np.floating]) -> dict[int, list[NDArray[np.float64]]]:
    """Return the best directions of axes of so many turns, (3,) each, by that number."""
    z, phi = _hemisphere(_NSIDE)
    directions = _on_sphere(z, phi)
    likeness = _likeness_about(volume, directions)
    found = {}
    for fold, alike in likeness.items():
        own: list[NDArray[np.float64]] = []
        for place in np.argsort(-alike):
            if len(own) == _AXES or alike[place] < _LEAST:
                break
            near = [abs(directions[place] @ each) > np.cos(np.radians(_APART)) for each in own]
            if not any(near):
                own.append(directions[place])
        if own:
            found[fold] = own
    return found


def _likeness_about(
    volume: NDArray[np.floating], directions: NDArray[np.float64]
) -> dict[int, NDArray[np.float64]]:
    """Return the mean correlation of a map with itself after the turns about directions (n, 3).

    By the number of turns, (n,) each.
    """
    transform, middle = MapTransform(volume), centre_of_mass(volume)
    nodes, weights = np.polynomial.legendre.leggauss(2 * _CIRCLES)
    upper = nodes > 0
    around = 2 * np.pi * np.arange(_AROUND) / _AROUND
    sphere = _on_sphere(nodes[upper][:, None], around[None]).reshape(-1, 3)
    points = np.concatenate([radius * sphere for radius in _RADII])
    shape = len(_RADII), _CIRCLES, _AROUND
    folds = np.arange(2, MOST_FOLD + 1)
    harmonic = np.abs(np.fft.fftfreq(_AROUND, 1 / _AROUND))
    kept = np.array([harmonic % fold == 0 for fold in folds], dtype=np.float64)
    weight = torch.from_numpy(weights[upper]).float()[:, None]
    found = np.empty((len(folds), len(directions)))
    for place, direction in enumerate(directions):
        about = _turned_to(direction)
        values = transform.at(points @ about.T, middle).reshape(shape)
        # about their means: of k and −k together they are real
        values = values - (weight * values.real).mean((1, 2), keepdim=True) / weight.mean()
        power = weight * (torch.fft.fft(values).abs() / _AROUND).square()
        power = power.sum(1)
        share = (power / power.sum(1, keepdim=True).clamp(min=1e-9)).mean(0).double().numpy()
        found[:, place] = (folds * (kept @ share) - 1) / (folds - 1)
    return dict(zip(folds.tolist(), found, strict=True))


def _frames(
    name: str, group: NDArray[np.float64], fold: int, direction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return frames in which an axis of so many turns of a group has a direction, (n, 3, 3)."""
    to_axis = _turned_to(direction) @ _turned_to(_axis_of(group, fold)).T
    if name.startswith("C"):
        return to_axis[None]
    angles = np.arange(0, 360 / fold, _STEP)
    about = Rotation.from_rotvec(np.radians(angles)[:, None] * direction).as_matrix()
    return np.asarray(about @ to_axis)


def _axis_of(group: NDArray[np.float64], fold: int) -> NDArray[np.float64]:
    """Return an axis of so many turns of a group, (3,)."""
    vectors = Rotation.from_matrix(group).as_rotvec()
    angles = np.linalg.norm(vectors, axis=1)
    place = int(np.abs(angles - 2 * np.pi / fold).argmin())
    return np.asarray(vectors[place] / angles[place])


def _hemisphere(nside: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return heights and longitudes of directions, no two of them opposite ones."""
    tilt, rot = angles_of_pixels(np.arange(12 * nside**2), nside)
    z, phi = np.cos(tilt), rot
    upper = (z > 1e-6) | ((np.abs(z) <= 1e-6) & (phi < np.pi - 1e-6))
    return z[upper], phi[upper]


def _on_sphere(z: NDArray[np.float64], phi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return directions (x, y, z) of heights and longitudes."""
    flat = np.sqrt(1 - z**2)
    return np.stack(np.broadcast_arrays(flat * np.cos(phi), flat * np.sin(phi), z), -1)


def _turned_to(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a rotation whose third column is a direction, (3, 3)."""
    helper = np.eye(3)[np.abs(direction).argmin()]
    first = np.cross(helper, direction)
    first /= np.linalg.norm(first)
    return np.stack((first, np.cross(direction, first), direction), 1)
