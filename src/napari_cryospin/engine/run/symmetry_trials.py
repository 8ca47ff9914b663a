"""Runs apart that are told of a symmetry: for particles whose map does not show the one they have.

All mates of a pose are as likely. In a run that is not told, particles may all go to one unit of a
large symmetric molecule: the map is then known from there alone, bends, and shows no symmetry. A
run that is told has no such choice; that it explains the particles better tells that they have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.evaluation.alignment import align_rotations
from napari_cryospin.engine.evaluation.directions import ONE_UNIT
from napari_cryospin.engine.geometry.hand import HALF_TURN
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame
from napari_cryospin.engine.judging.symmetry import MapSymmetry, half_correlation
from napari_cryospin.engine.judging.symmetry_local import gain_of
from napari_cryospin.engine.run.agreement import SIGNIFICANT
from napari_cryospin.engine.run.apart import settings_apart, train_apart
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.stages import DirectStage, MarginalStage
from napari_cryospin.engine.state.problem import evenly_spread
from napari_cryospin.engine.symmetry_names import parts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.stages import Stage

# groups of several axes of many turns, the largest first: O and I share T, and no more
_TRIED = ("I", "O", "T")
# particles of a trial, at least and at most, the frequency radius that it goes to, and its starts:
# one in five ends in a wrong map
_FEWEST, _MOST, _RADIUS, _STARTS = 300, 3000, 16, 2
# epochs of its refinement, at most: where the symmetry is right poses settle in six or seven
_EPOCHS = 8
# degrees within which a pose is as the alignment of both runs has it
_ALIGNED = 15.0


def worth_a_trial(
    symmetry: str, found: MapSymmetry | None, sampling: float, *, converged: bool
) -> bool:
    """Return whether a run may have missed the symmetry of its particles.

    Parameters
    ----------
    symmetry
        Point group that the run was told.
    found
        What its map shows beside, or nearly shows.
    sampling
        Sampling compensation factor of its views.
    converged
        Whether nothing else is in doubt.
    """
    if not any(_is_part(symmetry, name) for name in _TRIED):
        return False
    shows = found is not None and any(found.name in parts_of(name) for name in _TRIED)
    if found is not None and not found.pseudo and not shows:
        return False
    return sampling < ONE_UNIT or (shows and not converged)


@torch.no_grad()
def tried_symmetry(training: Training, halves: HalfMaps, across: float) -> MapSymmetry | None:
    """Return the largest group that particles are better explained with, of those that are tried.

    The run itself stays as it is. None where there is no such group, or particles are too few.

    Parameters
    ----------
    training
        The run.
    halves
        Its half-maps.
    across
        Diameter of the ball that holds the particle, pixels.
    """
    members = halves.among(training.members).rows
    rows = evenly_spread(members[0], _MOST // 2), evenly_spread(members[1], _MOST // 2)
    if sum(map(len, rows)) < _FEWEST:
        return None
    for name in _TRIED:
        if not _is_part(training.settings.model.symmetry, name):
            continue
        settings = settings_apart(training, _stages(training.particles), _STARTS)
        settings.model.symmetry = name
        settings.model.outliers = settings.model.halves = False
        alone = Training(training.particles, settings)
        train_apart(alone, torch.cat(rows))
        gain = gain_of(alone.problem, training.problem, rows, _RADIUS)
        mean, error = float(gain.mean()), float(gain.std()) / len(gain) ** 0.5
        if mean > SIGNIFICANT * error:
            frame = _frame(training, alone, torch.cat(rows), point_group(name))
            measured = half_correlation(halves, point_group(name), frame, across)
            alike, allowed = measured or (None, None)
            return MapSymmetry(name, frame, alike, allowed, mean, error)
    return None


def _is_part(symmetry: str, name: str) -> bool:
    """Return whether a run's symmetry is a part of a group, and less than it."""
    return symmetry == "C1" or symmetry in parts_of(name)


def _stages(particles: Particles) -> list[Stage]:
    """Return the stages of a trial: from nothing to refined poses, at low frequency."""
    resolution = particles.box * particles.pixel_size / _RADIUS
    return [
        MarginalStage(),
        MarginalStage(until="epochs", epochs=1, nside=8, batch_size=1000, low_pass_end=resolution),
        DirectStage(
            until="criterion",
            epochs=_EPOCHS,
            batch_size=500,
            pose_update="gauss-newton",
            pose_steps=2,
            volume_update="closed form",
            hypotheses=3,
            low_pass_start=resolution,
            low_pass_end=resolution,
        ),
    ]


def _frame(
    training: Training, alone: Training, rows: Tensor, group: NDArray[np.float64]
) -> SymmetryFrame:
    """Return the frame in which the map of a run has the axes of a trial, by the poses of both.

    A map and its mirror image have the same axes.
    """
    own, others = training.poses.at(rows), alone.poses.at(rows)
    rotations = own.rotations.double().cpu().numpy()
    alignment = align_rotations(rotations, others.rotations.double().cpu().numpy(), group)
    turn = HALF_TURN @ alignment.rotation if alignment.mirrored else alignment.rotation
    aligned = alignment.errors < _ALIGNED
    # what is moved in the map by a middle is moved in the images: shifts differ by its projection
    projections = rotations[aligned, :2].reshape(-1, 3)
    moved = (own.shifts - others.shifts).double().cpu().numpy()[aligned].reshape(-1)
    middle = np.linalg.lstsq(projections, moved, rcond=None)[0]
    return SymmetryFrame(turn, middle, 0.0)
