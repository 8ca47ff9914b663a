"""What images say of poses, as matrix products: the one engine of training and of the explorer.

For white noise of unit variance, ``log p(pose j | image i) = (C∘X) Pᵀ − ½ (C∘C) (P∘P)ᵀ`` up to a
constant of the image, with the slices P of the map at the poses. For other noise both products are
weighted by one over its variance, or images X and CTFs C are given in units of its deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PoseSlices:
    """Slices of a map at J poses, the same ones for all images or each image's own.

    Parameters
    ----------
    values, squares
        Slices and their squares, (J, K) or (b, J, K).
    """

    values: Tensor
    squares: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Return slices (J, K) or (b, J, K) with their squares."""
        return cls(values, values.square())

    def __len__(self) -> int:
        """Return the number of poses."""
        return self.values.shape[-2]

    def frequencies(self, part: slice) -> Self:
        """Return the slices at some of the frequencies."""
        return type(self)(self.values[..., part], self.squares[..., part])

    def at(self, poses: Tensor) -> Self:
        """Return each image's own of slices for all: at some of the poses, (b, T)."""
        return type(self)(self.values[poses], self.squares[poses])

    def cross(self, signal: Tensor) -> Tensor:
        """Return the products with CTF · image, (b, …, J), from (b, …, K)."""
        if self.values.dim() == 2 and signal.dim() == 3:
            # one product of matrices, not one for each image
            product: Tensor = (signal.flatten(0, 1) @ self.values.T).unflatten(0, signal.shape[:2])
            return product
        if self.values.dim() == 3 and signal.dim() == 2:
            own: Tensor = (self.values @ signal[..., None])[..., 0]
            return own
        return signal @ self.values.mT

    def power(self, ctf2: Tensor) -> Tensor:
        """Return the products with themselves under CTF², (b, J), from (b, K)."""
        if self.squares.dim() == 2:
            return ctf2 @ self.squares.T
        power: Tensor = (self.squares @ ctf2[..., None])[..., 0]
        return power

    def log_probability(self, observed: Tensor, ctf: Tensor) -> Tensor:
        """Return unnormalised log-probabilities of images in units of the noise.

        Parameters
        ----------
        observed
            Centred images (b, K), or each at several shifts, (b, S, K).
        ctf
            Their CTFs, (b, K).

        Returns
        -------
        Tensor
            Shape (b, J) or (b, S, J).
        """
        power = self.power(ctf.square())
        if observed.dim() == 3:
            ctf, power = ctf[:, None], power[:, None]
        return self.cross(ctf * observed) - 0.5 * power
