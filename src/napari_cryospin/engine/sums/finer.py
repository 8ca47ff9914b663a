"""Posteriors on finer cells, where those of a sum over poses are heaviest.

The cells of a sum that a map is made by may be wider than the posteriors are: which of two modes is
the heavier is then decided by where their cells' centres happen to lie. Here the heaviest cells
are split three times, to an eighth of their spacing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from napari_cryospin.engine.geometry.cells import n_in_plane, rotations_of_cells
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.kernels import PosedImages
from napari_cryospin.engine.sums.quadrature import split_cells

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.models.image import ImageModel

# cells that are split at each level
_SPLIT = (16, 24, 24)


@dataclass(frozen=True)
class FinePosteriors:
    """Posteriors of b particles on T cells around their modes.

    Parameters
    ----------
    rotations
        Centres of the cells, (b, T, 3, 3).
    weights
        Their probabilities, (b, T); they add up to 1.
    """

    rotations: Tensor
    weights: Tensor

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """Return the posteriors of all parts as one."""
        return cls(
            torch.cat([part.rotations for part in parts]),
            torch.cat([part.weights for part in parts]),
        )


@torch.no_grad()
def finer(
    cells: Tensor,
    weights: Tensor,
    shifts: Tensor,
    nside: int,
    model: ImageModel,
    slicer: Slicer,
    images: Observed,
    *,
    shifted: bool = False,
) -> FinePosteriors:
    """Return posteriors at an eighth of the spacing.

    Parameters
    ----------
    cells, weights
        The heaviest cells of a level, and their weights or the logarithms of them, (b, T): those
        of several maps are numbered on from map to map.
    shifts
        Best shift at each from the origin of the image, pixels, (b, T, 2).
    nside
        The level.
    model
        Image model of the frequencies that poses are judged by.
    slicer
        What reads the maps.
    images
        The images, in units of the noise.
    shifted
        Whether shifts are integrated over, by a Gaussian around each cell's best one; else they are
        taken as known.
    """
    order = weights
    for split in _SPLIT:
        heaviest = order.topk(min(split, order.shape[1]), 1).indices
        cells = _children(cells.gather(1, heaviest), nside).flatten(1)
        shifts = shifts.gather(1, heaviest[..., None].expand(-1, -1, 2)).repeat_interleave(8, 1)
        nside *= 2
        classes, own = split_cells(cells, nside)
        poses = Poses(_centres(own, nside), shifts, classes)
        order = _log_likelihood(model, slicer, images, poses, shifted)
    return FinePosteriors(poses.rotations, order.softmax(1))


def _log_likelihood(
    model: ImageModel, slicer: Slicer, images: Observed, poses: Poses, shifted: bool
) -> Tensor:
    """Return the log-likelihood of poses (b, T) of images, shifts integrated over or not."""
    n, each = poses.rotations.shape[:2]
    numbers = torch.arange(n, device=images.rows.device).repeat_interleave(each)
    posed = PosedImages(
        images.coefficients, images.ctf, poses.flatten(), model.frequencies, numbers
    )
    half = 0.5 * len(model.frequencies)
    if not shifted:
        known: Tensor = -half * slicer.errors(posed)[0]
        return known.view(n, each)
    # the error is a parabola of the shift: its least value, and the width of its valley
    fit = slicer.fit(posed)
    slope, bend = fit.gradient[:, 3:].double(), fit.normal[:, 3:, 3:].double()
    flat = 1e-6 * bend.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-12)
    bend = bend + torch.diag_embed(flat[:, None].expand(-1, 2))
    gained = 0.5 * (slope * torch.linalg.solve(bend, slope)).sum(1)
    found = -half * (fit.errors.double() - gained) - 0.5 * torch.logdet(bend)
    log_p: Tensor = found.to(fit.errors.dtype)
    return log_p.view(n, each)


def _centres(cells: Tensor, nside: int) -> Tensor:
    """Return the Euler matrices of the centres of cells (b, T), (b, T, 3, 3)."""
    # a table of all cells of a fine level would take more than a hundred MB
    centres = rotations_of_cells(cells.flatten().cpu().numpy(), nside)
    found: Tensor = torch.from_numpy(centres).float().to(cells.device).unflatten(0, cells.shape)
    return found


def _children(cells: Tensor, nside: int) -> Tensor:
    """Return the eight cells of the level ``2 nside`` in each cell, (..., 8)."""
    pixels, intervals = cells // n_in_plane(nside), cells % n_in_plane(nside)
    part = torch.arange(8, device=cells.device)
    pixels, intervals = 4 * pixels[..., None] + part // 2, 2 * intervals[..., None] + part % 2
    children: Tensor = pixels * n_in_plane(2 * nside) + intervals
    return children
