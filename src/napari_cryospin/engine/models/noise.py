"""The noise of the images by frequency, and images in units of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.models.image import ImageModel


# images of so many times the usual power tell nothing of the others
_OUTSHINING = 5.0


def usual_ones(powers: Tensor) -> Tensor:
    """Return which of the powers of images, (n,), do not outshine the others."""
    return powers <= _OUTSHINING * powers.median()


def mean_power(values: Tensor) -> Tensor:
    """Return the mean square of pixels or coefficients over images, without outshining ones.

    Parameters
    ----------
    values
        Shape (n, K).

    Returns
    -------
    Tensor
        Shape (K,).
    """
    squares = values.square()
    usual = usual_ones(squares.sum(1))
    return squares.mean(0) if bool(usual.all()) else squares[usual].mean(0)


@dataclass(frozen=True)
class NoiseSpectrum:
    """Variance of the noise of the images in each frequency shell.

    Parameters
    ----------
    variance
        Shape (D/2,), for the radii 0 to D/2 − 1 in units of 1/box; 1 for white noise of the working
        stack's unit. It is what a coefficient would have without the mask of the stack.
    """

    variance: Tensor

    @classmethod
    def white(cls, box: int, device: torch.device | str = "cpu") -> NoiseSpectrum:
        """Return white noise of unit variance."""
        return cls(torch.ones(box // 2, device=device))

    @classmethod
    def of_residuals(cls, power: Tensor, model: ImageModel, mask_power: float) -> NoiseSpectrum:
        """Return the spectrum from the mean power of residuals, (K,), of masked images.

        The mask takes the noise away outside it, and so a share of every coefficient's variance;
        the coefficients that are left are correlated. Dividing by the mask's mean square gives the
        variance with which independent coefficients carry the same information.
        """
        shells = shells_of(model)
        count = torch.bincount(shells, minlength=model.box // 2)
        total = torch.bincount(shells, power, minlength=model.box // 2)
        variance = total / count.clamp(min=1) / mask_power
        # there is no shell 0 in a disk, and none beyond its radius
        beyond = variance[shells.max()]
        return cls(torch.where(count > 0, variance, beyond).clamp(min=1e-3))

    def replaced(self, other: NoiseSpectrum, model: ImageModel) -> NoiseSpectrum:
        """Return this spectrum with another's variances inside the radius of a model."""
        places = torch.arange(len(self.variance), device=self.variance.device)
        return NoiseSpectrum(
            torch.where(places <= shells_of(model).max(), other.variance, self.variance)
        )

    def deviation(self, model: ImageModel) -> Tensor:
        """Return the standard deviation of every coefficient of a model, shape (K,)."""
        return self.variance[shells_of(model)].sqrt()


def shells_of(model: ImageModel) -> Tensor:
    """Return the frequency shell (rounded radius) of every coefficient, shape (K,)."""
    radius = model.frequencies.norm(dim=1).round().long()
    shells: Tensor = radius.clamp(max=model.box // 2 - 1)
    return shells
