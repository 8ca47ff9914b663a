"""Where the images of particles live: a home that reads the rows that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.plan import Prepared

# random directions that every image is projected onto
_DIRECTIONS = 2
# of the images at a time where all of them are gone through
_PART_BYTES = 64 * 2**20


def signatures(images: Tensor) -> Tensor:
    """Return images (m, D, D) projected onto two random directions of their box, (m, 2)."""
    box = images.shape[-1]
    generator = torch.Generator().manual_seed(box)
    directions = torch.randn(box**2, _DIRECTIONS, generator=generator) / box
    return images.flatten(1) @ directions


def rows_at_once(box: int) -> int:
    """Return how many images of a box (pixels) are taken at a time where all are gone through."""
    return max(1, _PART_BYTES // (4 * box**2))


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

    def signatures(self) -> Tensor:
        """Return two numbers by which each image is known again, (n, 2), on the CPU."""


class Home(Protocol):
    """Takes working images as they are made."""

    def put(self, places: NDArray[np.int64], images: Tensor) -> None:
        """Take images (m, D, D) for places (m,) among all."""


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

    def signatures(self) -> Tensor:
        """Return two numbers by which each image is known again, (n, 2), on the CPU."""
        parts = self.images.split(rows_at_once(self.box))
        return torch.cat([signatures(part.cpu()) for part in parts])


class MemoryHome:
    """Takes working images in memory; there is never a second copy of them.

    Parameters
    ----------
    n
        Number of images.
    box
        Side D of the images, pixels.
    """

    def __init__(self, n: int, box: int) -> None:
        self._images = torch.empty(n, box, box)

    def put(self, places: NDArray[np.int64], images: Tensor) -> None:
        """Take images (m, D, D) for places (m,) among all."""
        self._images[torch.from_numpy(places)] = images

    def finish(self, prepared: Prepared) -> InMemory:
        """Return the images that are kept, moved to the front, times their factors."""
        images, kept = self._images, torch.from_numpy(prepared.kept)
        start = 0
        for some in kept.split(rows_at_once(images.shape[-1])):
            here = slice(start, start + len(some))
            images[here] = images[some].mul_(prepared.factors[here, None, None])
            start += len(some)
        return InMemory(images[: len(kept)])
