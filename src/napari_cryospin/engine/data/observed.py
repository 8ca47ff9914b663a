"""Particles as inference needs them: coefficients of their images, and their CTFs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.models.image import ImageModel

# nobody is quite without weight: what an image is left with can be told from its weighed residual
LEAST_MEMBERSHIP = 1e-4


@dataclass(frozen=True)
class Observed:
    """Coefficients of b images, and what multiplies those of a projection to give them.

    Parameters
    ----------
    rows
        Rows of the images among the particles in use, (b,).
    coefficients
        Their coefficients, moved by the origin shifts, (b, K).
    ctf
        CTFs times the scales, (b, K).
    scales
        What the map is multiplied with to fit each, (b,).
    origins
        Origin shifts by which the images are moved, pixels, (b, 2).
    membership
        Probability that each shows the particle: its weight in a map, (b,).
    by_hand
        What was said of that by hand, (b,) int8 (:mod:`~napari_cryospin.engine.data.member`).
    """

    rows: Tensor
    coefficients: Tensor
    ctf: Tensor
    scales: Tensor
    origins: Tensor
    membership: Tensor
    by_hand: Tensor

    def at(self, model: ImageModel, origins: Tensor) -> Self:
        """Return the images moved by other origin shifts (b, 2)."""
        coefficients = model.shift(self.coefficients, origins - self.origins)
        return replace(self, coefficients=coefficients, origins=origins)

    def over(self, deviation: Tensor) -> Self:
        """Return coefficients and CTFs in units of the noise's standard deviation, (K,)."""
        return replace(self, coefficients=self.coefficients / deviation, ctf=self.ctf / deviation)

    @property
    def weighed(self) -> Self:
        """The images as they go into sums of products of two: by the roots of their memberships."""
        if bool((self.membership == 1).all()):
            return self
        root = self.membership.clamp(min=LEAST_MEMBERSHIP).sqrt()[:, None]
        return replace(self, coefficients=root * self.coefficients, ctf=root * self.ctf)

    def __getitem__(self, part: slice | Tensor) -> Self:
        return type(self)(*(getattr(self, field.name)[part] for field in fields(self)))
