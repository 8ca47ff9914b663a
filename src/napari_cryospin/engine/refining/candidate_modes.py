"""The modes that a particle's candidates stand for, and how probable each is.

An encoder's candidates scatter by some 6° around the modes of a posterior that is 3° wide. Their
own likelihoods tell how near each fell to its mode, not how probable that is: weighted by them, the
heaviest of two equal modes seems certain. So the best candidate of each mode takes two steps of
Gauss and Newton's, and the mode has the probability of the Gaussian around it (Laplace): its height
times its volume.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.refining.gauss_newton import improve, schedule

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.models.image import ImageModel

# candidates within this angle are of one mode, degrees: an encoder's proposals of one scatter by
# some 7°
APART = 20.0
# a pose within this angle of a candidate is covered by it, degrees
COVERED = 15.0
# modes of a particle that are weighed
MOST_MODES = 6
# steps of each: with more, some leave their mode for the next one
_STEPS = 2


@dataclass(frozen=True)
class CandidateModes:
    """Modes of b particles, m of each at most, in the order of their best candidates.

    Parameters
    ----------
    places
        Best candidate of each mode, (b, m); −1 where a particle has fewer.
    modes
        Mode of each candidate, (b, K); −1 for one that is near none of them.
    poses
        Refined poses of the modes, (b, m).
    there
        Which of them there are, bool, (b, m): a mode that comes to another one by its refinement is
        none.
    weights
        Their probabilities, (b, m): they add up to 1, and are 0 where there is no mode.
    """

    places: Tensor
    modes: Tensor
    poses: Poses
    there: Tensor
    weights: Tensor

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """Return the modes of all parts as one."""
        return cls(
            torch.cat([part.places for part in parts]),
            torch.cat([part.modes for part in parts]),
            Poses.join([part.poses for part in parts]),
            torch.cat([part.there for part in parts]),
            torch.cat([part.weights for part in parts]),
        )


@torch.no_grad()
def candidate_modes(
    model: ImageModel,
    slicer: Slicer,
    images: Observed,
    candidates: Poses,
    *,
    shifted: bool,
    most: int = MOST_MODES,
    apart: float = APART,
) -> CandidateModes:
    """Return the modes of candidates, (b, K), with their probabilities.

    Parameters
    ----------
    model
        Image model of the frequencies that poses are judged by.
    slicer
        The map.
    images
        The b images, in units of the noise; shifts of candidates are beside their origins.
    candidates
        Poses; a particle's may be placeholders (NaN) in part.
    shifted
        Whether shifts are estimated.
    most
        Number m of modes that are looked at.
    apart
        Candidates within this angle are of one mode, degrees.
    """
    n, k = candidates.rotations.shape[:2]
    errors = _aligned(model, slicer, images, k, shifted).errors(candidates.flatten()).view(n, k)
    places = distinct(candidates.rotations, errors, most, apart)
    found, rows = places >= 0, torch.arange(n, device=places.device)[:, None]
    chosen = candidates[rows, places.clamp(min=0)]
    aligned = _aligned(model, slicer, images, most, shifted)
    refined, log_evidence = _refined(aligned, chosen, errors[rows, places.clamp(min=0)])
    log_evidence = log_evidence.masked_fill(~found, -math.inf)
    there = found & ~_found_again(refined.rotations, log_evidence)
    weights = log_evidence.masked_fill(~there, -math.inf).softmax(1).nan_to_num()
    return CandidateModes(
        places, _nearest(candidates, chosen, found, apart), refined, there, weights
    )


def distinct(rotations: Tensor, errors: Tensor, n: int, apart: float = APART) -> Tensor:
    """Return the ``n`` best candidates of each particle that are no neighbours of each other.

    Parameters
    ----------
    rotations
        Candidates, (b, K, 3, 3).
    errors
        Their errors, (b, K); NaN where there is none.
    n
        Number of candidates that are wanted.
    apart
        Neighbours are within this angle, degrees.

    Returns
    -------
    Tensor
        Their places, the best first, (b, n); −1 where a particle has no more of them.
    """
    left = errors.nan_to_num(nan=torch.inf)
    rows = torch.arange(len(left), device=left.device)
    chosen = []
    for _ in range(n):
        best = left.argmin(1)
        none = left[rows, best].isinf()
        chosen.append(best.masked_fill(none, -1))
        near = within(rotations, rotations[rows, best][:, None], apart)[..., 0]
        left = left.masked_fill(near, torch.inf)
    return torch.stack(chosen, 1)


def best_distinct(rotations: Tensor, errors: Tensor, n: int) -> Tensor:
    """Return what :func:`distinct` finds as poses, (b, n, 3, 3), NaN where there is none."""
    place = distinct(rotations, errors, n)
    rows = torch.arange(len(place), device=place.device)[:, None]
    found = rotations[rows, place.clamp(min=0)]
    return found.masked_fill((place < 0)[..., None, None], torch.nan)


def within(poses: Tensor, others: Tensor, angle: float) -> Tensor:
    """Return which poses (b, p, 3, 3) lie within an angle, degrees, of which others, (b, p, q)."""
    near: Tensor = poses.flatten(2) @ others.flatten(2).mT >= _trace(angle)
    return near


def covered(candidates: Tensor, rotations: Tensor, weights: Tensor) -> Tensor:
    """Return the share of posteriors within 15° of a candidate, (b,).

    Parameters
    ----------
    candidates
        Candidates, (b, K, 3, 3).
    rotations, weights
        Poses and their probabilities, (b, T, 3, 3) and (b, T).
    """
    return (weights * within(rotations, candidates, COVERED).any(2)).sum(1)


def random_coverage(n: int, angle: float = COVERED) -> float:
    """Return the chance that one of ``n`` random poses lies within an angle, degrees, of a pose."""
    radians = math.radians(angle)
    return 1 - (1 - (radians - math.sin(radians)) / math.pi) ** n


def mass_of_modes(rotations: Tensor, weights: Tensor, found: CandidateModes) -> Tensor:
    """Return what posteriors have nearest to each of their modes, within 20°, (b, m).

    Parameters
    ----------
    rotations, weights
        Poses and their probabilities, (b, T, 3, 3) and (b, T).
    found
        The modes.
    """
    trace = rotations.flatten(2) @ found.poses.rotations.flatten(2).mT
    nearest = trace.masked_fill(~found.there[:, None], -math.inf).max(2)
    near = nearest.values >= _trace(APART)
    mass = torch.zeros(found.there.shape, dtype=weights.dtype, device=weights.device)
    return mass.scatter_add_(1, nearest.indices, weights * near)


def _trace(angle: float) -> float:
    """Return the trace of a turn by an angle, degrees."""
    return 1 + 2 * math.cos(math.radians(angle))


def _aligned(
    model: ImageModel, slicer: Slicer, images: Observed, each: int, shifted: bool
) -> Alignment:
    """Return images beside so many poses of each."""
    n = len(images.rows)
    numbers = torch.arange(n, device=images.rows.device).repeat_interleave(each)
    return Alignment(model, slicer, images, "squared", numbers, shifted)


def _refined(aligned: Alignment, chosen: Poses, before: Tensor) -> tuple[Poses, Tensor]:
    """Return poses (b, m) after some steps, and the logarithms of the integrals around them."""
    n, m = chosen.rotations.shape[:2]
    first = chosen.flatten()
    improved = improve(aligned, first, schedule(aligned, _STEPS, far=True))
    fit, parameters = aligned.fit(improved), 5 if aligned.shifted else 3
    good = fit.errors <= before.flatten()
    poses = improved.where(good, first)
    errors = torch.where(good, fit.errors, before.flatten())
    # an image that tells nothing of its pose has a flat likelihood, and no volume
    normal = fit.normal[:, :parameters, :parameters].double()
    flat = 1e-6 * normal.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-12)
    volume = -0.5 * torch.logdet(normal + torch.diag_embed(flat[:, None].expand(-1, parameters)))
    log_evidence = volume.to(errors.dtype) - 0.5 * len(aligned.norms) * errors
    unflat = replace(
        chosen,
        rotations=poses.rotations.unflatten(0, (n, m)),
        shifts=poses.shifts.unflatten(0, (n, m)),
    )
    return unflat, log_evidence.view(n, m)


def _found_again(rotations: Tensor, log_evidence: Tensor) -> Tensor:
    """Return which refined poses, (b, m), have come to a mode that another one describes better."""
    near = angular_distance(rotations[:, :, None], rotations[:, None]) < APART
    better = log_evidence[:, None] > log_evidence[:, :, None]
    return (near & better).any(2)


def _nearest(candidates: Poses, chosen: Poses, found: Tensor, apart: float) -> Tensor:
    """Return the mode of each candidate, (b, K)."""
    angles = angular_distance(candidates.rotations[:, :, None], chosen.rotations[:, None])
    nearest = angles.masked_fill(~found[:, None], torch.inf).min(2)
    return nearest.indices.masked_fill(~(nearest.values < apart), -1)
