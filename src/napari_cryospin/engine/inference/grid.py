"""The exact posterior of poses on a grid, as matrix products.

For white noise of unit variance, ``log p(pose j | image i) = (C∘X) Pᵀ − ½ (C∘C) (P∘P)ᵀ`` up to a
constant of the image, with the slices P of the map at the grid's poses inside a frequency disk. For
other noise, images X and CTFs C are given in units of its standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.models.image import ImageModel


# poses so many nats behind the best one count as being so many behind: they carry nothing, and
# products of numbers that are too small for a float are slow
_NEGLIGIBLE = 60.0


@dataclass(frozen=True)
class GridSlices:
    """Slices of a map at all poses of a grid: ``values`` and their squares, (J, K)."""

    model: ImageModel
    values: Tensor
    squares: Tensor

    def log_probability(self, observed: Tensor, ctf: Tensor) -> Tensor:
        """Return unnormalised log-probabilities (b, J) of images (b, K) that are centred."""
        return torch.addmm(
            (ctf * observed) @ self.values.T, ctf.square(), self.squares.T, alpha=-0.5
        )


def normalised(log_p: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities of poses, and the logarithm of the sum of what was given.

    Parameters
    ----------
    log_p
        Logarithms of what the probabilities are proportional to, (b, …).

    Returns
    -------
    tuple
        Probabilities, (b, …), and logarithms, (b,).
    """
    (weights,), total = normalised_together([log_p])
    return weights, total


def normalised_together(log_p: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return what :func:`normalised` does, for points that lie in several tensors (b, …)."""
    points = [part.flatten(1) for part in log_p]
    best = torch.stack([part.amax(1) for part in points]).amax(0)[:, None]
    weights = [(part - best).clamp_(min=-_NEGLIGIBLE).exp_() for part in points]
    total = torch.stack([part.sum(1) for part in weights]).sum(0)[:, None]
    found = [w.div_(total).view_as(part) for w, part in zip(weights, log_p, strict=True)]
    return found, (best + total.log())[:, 0]


def shift_grid(extent: float, step: float, device: torch.device | str = "cpu") -> Tensor:
    """Return shifts (x, y) on a square grid in the circle of radius ``extent``, (S, 2), pixels."""
    n = int(extent // step)
    line = step * torch.arange(-n, n + 1, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack((x.flatten(), y.flatten()), 1)
    return grid[grid.norm(dim=1) <= extent + 1e-6].to(device)
