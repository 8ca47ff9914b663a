"""Refining poses by Gauss and Newton's steps, damped as Levenberg and Marquardt do, on SO(3) × R².

A step solves ``(N + λ diag N) δ = −g`` for turn and shift of every image by itself, with the
gradient g and the normal matrix N of its squared error. The low frequencies see further, the high
ones more sharply: poses that may be degrees off begin with the former.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.kernels import PoseFit
    from napari_cryospin.engine.refining.alignment import Alignment

# frequency radii of the steps of a whole refinement, in units of 1/box; beyond them all that is in
# use. From 5° away a last radius alone leaves up to a third of the particles beside their optimum.
_RADII = (10.0, 18.0)
# damping at first, and what it is divided and multiplied with where a step was good or bad
_DAMPING, _EASED, _STIFFENED = 1e-2, 5.0, 20.0
# a step turns no further than moves the outermost frequency by so many voxels, and shifts no
# further than so many of its periods
_REACH, _PERIODS = 1.5, 0.25
# keeps the equations of images without signal solvable
_TINY = 1e-12


@dataclass
class _Best:
    """Poses on their way: the best so far, the fit there, and the damping λ of each, (p,)."""

    poses: Poses
    fit: PoseFit
    damping: Tensor


def schedule(aligned: Alignment, steps: int, *, far: bool) -> list[int]:
    """Return the number of frequencies of every step.

    Parameters
    ----------
    aligned
        Images and map.
    steps
        Steps with all frequencies in use.
    far
        Whether poses may be degrees off: lower frequencies come first then.
    """
    norms, everything = aligned.norms, len(aligned.norms)
    low = [int((norms <= radius + 1e-4).sum()) for radius in _RADII] if far else []
    return [*(n for n in low if 0 < n < everything), *[everything] * steps]


def improve(aligned: Alignment, poses: Poses, sizes: Sequence[int]) -> Poses:
    """Return poses after a step for every number of frequencies, ascending.

    A step that made the error of the same frequencies larger is taken back. The last one is not
    looked at.

    Parameters
    ----------
    aligned
        Images and map.
    poses
        Where they begin, (p,).
    sizes
        Number of frequencies of every step.
    """
    best: _Best | None = None
    before = 0
    for size in sizes:
        fit = aligned.fit(poses, size)
        if best is None or size != before:
            damping = torch.full_like(fit.errors, _DAMPING) if best is None else best.damping
            best = _Best(poses, fit, damping)
        else:
            best = _better(best, poses, fit)
        before = size
        poses = best.poses.moved(_step(aligned, best, size))
    return poses


def _better(old: _Best, poses: Poses, fit: PoseFit) -> _Best:
    """Return of every image the pose with the smaller error, and the damping that comes next."""
    good = fit.errors <= old.fit.errors
    chosen = [
        torch.where(good.view(-1, *[1] * (one.dim() - 1)), two, one)
        for one, two in zip(vars(old.fit).values(), vars(fit).values(), strict=True)
    ]
    damping = torch.where(good, old.damping / _EASED, old.damping * _STIFFENED)
    return _Best(poses.where(good, old.poses), type(fit)(*chosen), damping)


def _step(aligned: Alignment, at: _Best, size: int) -> Tensor:
    """Return the step to take from where poses are, radians and pixels, (p, 5)."""
    n = 5 if aligned.shifted else 3
    normal, gradient = at.fit.normal[:, :n, :n].double(), at.fit.gradient[:, :n].double()
    diagonal = normal.diagonal(dim1=1, dim2=2)
    damped = diagonal * at.damping[:, None] + _TINY + 1e-6 * diagonal.mean(1, keepdim=True)
    found = -torch.linalg.solve(normal + torch.diag_embed(damped), gradient).float()
    step = torch.nn.functional.pad(found, (0, 5 - n))
    radius = float(aligned.norms[size - 1])
    turn = _limited(step[:, :3], _REACH / radius)
    return torch.cat((turn, _limited(step[:, 3:], _PERIODS * aligned.model.box / radius)), 1)


def _limited(step: Tensor, most: float) -> Tensor:
    length = step.norm(dim=1, keepdim=True)
    limited: Tensor = step * (most / length.clamp(min=most))
    return limited
