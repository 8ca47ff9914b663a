"""What a sum over poses takes in and tells: images, and the posteriors of their poses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.models.image import ImageModel

# heaviest cells of a particle that are remembered
KEPT_CELLS = 64


@dataclass(frozen=True)
class Observed:
    """Images as the sum over poses needs them: coefficients and CTFs, (b, K) each.

    A particle's scale multiplies its CTF.
    """

    coefficients: Tensor
    ctf: Tensor

    @classmethod
    def of(cls, stack: WorkingStack, rows: Tensor, model: ImageModel, scales: Tensor) -> Observed:
        """Return particles ``rows`` (b,) of a stack with scales (n,)."""
        ctf = stack.ctf(rows, model.frequencies) * scales[rows, None]
        return cls(model.coefficients(stack.images[rows]), ctf)

    def __getitem__(self, part: slice | Tensor) -> Observed:
        return Observed(self.coefficients[part], self.ctf[part])


@dataclass(frozen=True)
class Posteriors:
    """Posteriors of b particles over poses and shifts.

    Parameters
    ----------
    log_evidence
        Log of the mean likelihood over all points of the sum, up to a constant of the image, (b,).
    information
        Divergence of the posterior from the uniform one, nats, (b,).
    cells
        The heaviest cells of poses, descending, (b, T).
    weights
        Their probabilities, (b, T).
    cell_shifts
        Best origin shift at each, pixels, (b, T, 2).
    shift_weights
        Probabilities of the shifts, (b, S).
    scales
        Posterior mean of the factor that the map needs to fit each image, (b,).
    errors
        Expected error per Fourier coefficient, in units of the noise's variance, (b,).
    points
        Points of the sum that were computed, (b,).
    """

    log_evidence: Tensor
    information: Tensor
    cells: Tensor
    weights: Tensor
    cell_shifts: Tensor
    shift_weights: Tensor
    scales: Tensor
    errors: Tensor
    points: Tensor

    @classmethod
    def join(cls, parts: list[Posteriors]) -> Posteriors:
        """Return the posteriors of all parts as one."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def rows(self, order: Tensor) -> Posteriors:
        """Return the posteriors in another order, (b,)."""
        names = [field.name for field in fields(self)]
        return type(self)(**{name: getattr(self, name)[order] for name in names})


def posterior_scale(cross: Tensor, power: Tensor, scale: Tensor, spread: float) -> Tensor:
    """Return the posterior mean of scales from Gaussian likelihoods and a prior around 1, (b,).

    Parameters
    ----------
    cross, power
        Expected products of image and CTF·slice, and of CTF·slice with itself, over the noise's
        variance, with CTFs that hold the present ``scale``; (b,) each.
    scale
        Present scales, (b,).
    spread
        Standard deviation of the prior.
    """
    precision = spread**-2
    return (cross / scale + precision) / (power / scale.square() + precision)
