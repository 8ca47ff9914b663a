"""Poses as fine as the particles tell them, where an inference leaves them on its grid."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.refining.alignment import Alignment

if TYPE_CHECKING:
    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.state.problem import Problem

# frequencies beyond this radius are not needed; particles at a time
_RADIUS, _PART = 16.0, 250


def with_refined_poses(problem: Problem, halves: HalfMaps) -> Problem:
    """Return the particles with poses refined against the half-map that each is not in.

    Those that are in neither half keep theirs; so does the problem that was given.
    """
    particles, poses = problem.particles, replace(problem.poses)
    poses.rotations, poses.shifts = poses.rotations.clone(), poses.shifts.clone()
    model = ImageModel.within(particles.box, min(_RADIUS, particles.box // 2 - 1), problem.device)
    one, two = halves.grids
    for all_rows, grid in zip(halves.rows, (two, one), strict=True):
        half_map = slicer(grid)
        for rows in all_rows.split(_PART):
            seen = particles.observed(rows, model, scales=poses.scales[rows])
            aligned = Alignment(model, half_map, seen, shifted=problem.model.shifts)
            poses.set_at(rows, aligned.refine(poses.at(rows)).poses)
    return replace(problem, poses=poses)
