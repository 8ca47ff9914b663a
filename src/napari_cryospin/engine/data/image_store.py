"""Where the images of particles live: a home that reads the rows that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class ImageStore(Protocol):
    """A home of n images of D × D pixels, as the reconstruction sees them."""

    @property
    def n(self) -> int:
        """Number of images."""

    @property
    def box(self) -> int:
        """Side D of the images, pixels."""

    def read(self, rows: Tensor) -> Tensor:
        """Return images by their numbers from 0, (m,), as (m, D, D), float32.

        Where they come to lie is the home's affair: in its own memory, or in the computer's.
        """

    def to(self, device: torch.device) -> ImageStore:
        """Return the home as near to a device as it can lie."""


@dataclass(frozen=True)
class InMemory:
    """Images in the memory of the computer or of a device.

    Parameters
    ----------
    images
        Shape (n, D, D), float32.
    """

    images: Tensor

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def box(self) -> int:
        """Side D of the images, pixels."""
        return self.images.shape[-1]

    def read(self, rows: Tensor) -> Tensor:
        """Return images by their numbers from 0, (m,), as (m, D, D), on their device."""
        return self.images[rows.to(self.images.device)]

    def to(self, device: torch.device) -> InMemory:
        """Return the images on a device."""
        return InMemory(self.images.to(device))
