"""Scoring poses and maps against the truth: the same code for every program and for the oracle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.optimize
import torch
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.data.belonging import belonging
from napari_cryospin.engine.data.density import fit_map, read_map
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.evaluation.alignment import align_rotations
from napari_cryospin.engine.evaluation.report import evaluate
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# poses within this angle of the truth are in the right mode, degrees
RIGHT = 30.0
SUCCESS_MEAN, SUCCESS_FSC = 5.0, 0.9
# poses and maps are as good as the oracle's where they are no worse by more than this share
_AS_ORACLE = 0.05
_BOX, _RADIUS = 32, 12


@dataclass(frozen=True)
class Score:
    """How close poses and map came to the truth; angles in degrees.

    ``mean_modulo`` and ``right`` take the pseudo-symmetry of the molecule into account: the mean
    error to the nearer of the two mates, and the share of the particles at the right one.
    """

    median: float
    mean: float
    right: float
    mean_modulo: float
    fsc_fraction: float
    shift_error_px: float | None

    def figures(self) -> dict[str, float | None]:
        """Return the figures by name."""
        return asdict(self)


def score(
    star: Path,
    map_path: Path,
    stack: Path,
    pseudo: np.ndarray | None = None,
    symmetry: str = "C1",
) -> Score:
    """Score a result by the truth in a simulated stack's folder.

    Poses are those of the particles that belong to the first structure, modulo the symmetry.
    """
    found = evaluate(star, map_path, stack / "truth.star", stack / "truth.mrc", symmetry)
    table, truth = read_star(star), read_star(stack / "truth.star")
    assert table.rotations is not None and truth.rotations is not None
    rows = np.array([int(index) for index in table.image_index])
    here = belonging(truth)[rows]
    errors, nearer = pose_errors(
        table.rotations[here], truth.rotations[rows[here]], pseudo, point_group(symmetry)
    )
    shift = found.median_shift_error_angstrom
    _, pixel_size = read_map(map_path)
    return Score(
        median=found.median_pose_error_deg,
        mean=found.mean_pose_error_deg,
        right=float((errors < RIGHT).mean()),
        mean_modulo=float(nearer.mean()),
        fsc_fraction=found.fsc_fraction_of_nyquist,
        shift_error_px=None if shift is None else shift / pixel_size,
    )


def is_right(row: Mapping[str, str]) -> bool:
    """Return whether poses and map of a row of results are right, or as good as the oracle's."""
    worst = max(SUCCESS_MEAN, (1 + _AS_ORACLE) * float(row["oracle_mean"]))
    least = min(SUCCESS_FSC, (1 - _AS_ORACLE) * float(row["oracle_fsc"]))
    return float(row["mean"]) <= worst and float(row["fsc"]) >= least


def pose_errors(
    rotations: np.ndarray,
    truth: np.ndarray,
    pseudo: np.ndarray | None,
    group: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of poses, (n,), and those to the nearer of two pseudo-symmetric mates.

    Errors are modulo the point group (g, 3, 3), if one is given.
    """
    alignment = align_rotations(rotations, truth, group)
    if pseudo is None:
        return alignment.errors, alignment.errors
    mapped = alignment.apply(rotations)
    errors = angular_distance(mapped, truth)
    nearer = np.minimum(errors, angular_distance(mapped, truth @ pseudo))
    # which of two mates most particles are at is the frame's: take the better
    if (errors < RIGHT).mean() < (angular_distance(mapped, truth @ pseudo) < RIGHT).mean():
        errors = angular_distance(mapped, truth @ pseudo)
    return errors, nearer


def pseudo_symmetry(map_path: Path) -> np.ndarray:
    """Return the half-turn that changes the projections of a map least, (3, 3)."""
    volume = torch.from_numpy(
        fit_map(read_map(map_path)[0], 1.0, _BOX, read_map(map_path)[0].shape[0] / _BOX)
    )
    projector, model = Projector(volume), ImageModel.within(_BOX, _RADIUS)
    views = torch.from_numpy(random_rotations(60, np.random.default_rng(0))).float()
    reference = projector.slices(views, model.frequencies)

    def change(vector: np.ndarray) -> float:
        turn = torch.from_numpy(Rotation.from_rotvec(vector).as_matrix()).float()
        return float((projector.slices(views @ turn, model.frequencies) - reference).square().sum())

    axes = np.random.default_rng(1).normal(size=(1500, 3))
    vectors = np.pi * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    best = sorted(vectors, key=change)[:5]
    found = [scipy.optimize.minimize(change, each, method="Nelder-Mead") for each in best]
    nearest = min(found, key=lambda result: result.fun)
    return Rotation.from_rotvec(nearest.x).as_matrix()
