"""Image formation in Hartley space, ``Y = CTF · shift(slice(map, pose)) + noise``: its error."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

import torch

from napari_cryospin.engine.geometry.fourier import (
    disk,
    disk_index,
    inverse_hartley_2d,
    shift_hartley,
)
from napari_cryospin.engine.geometry.slices import central_slices
from napari_cryospin.engine.kernels import Slicer
from napari_cryospin.engine.models.volume import Map

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.geometry.poses import Poses


@dataclass(frozen=True)
class ImageModel:
    """What turns a map and a pose into the coefficients of an image, inside a frequency disk.

    Parameters
    ----------
    box
        Side D of the images, pixels.
    frequencies
        Integer frequencies in use, shape (K, 2), every k followed by −k.
    index
        Flat position of every frequency in a (D, D) array, shape (K,).
    """

    box: int
    frequencies: Tensor
    index: Tensor

    @classmethod
    def within(cls, box: int, radius: float, device: torch.device | str = "cpu") -> Self:
        """Return the model of all frequencies up to ``radius`` (in units of 1/box)."""
        frequencies = disk(box, radius, device)
        return cls(box, frequencies, disk_index(frequencies, box))

    def coefficients(self, images: Tensor) -> Tensor:
        """Return the Hartley coefficients, shape (n, K), of images of shape (n, D, D)."""
        if not images.numel():  # torch refuses to transform none
            return images.new_zeros(*images.shape[:-2], len(self.frequencies))
        # of real images half of the transform tells all, and the disk is a part of that
        spectrum = torch.fft.rfft2(images, norm="ortho").flatten(-2)
        place, real_sign, imaginary_sign = self._of_half
        found = spectrum[..., place]
        real, imaginary = real_sign * found.real, imaginary_sign * found.imag
        return torch.stack((real - imaginary, real + imaginary), -1).flatten(-2)

    @cached_property
    def _of_half(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where the first of every pair stands in half a transform, (H,), and signs of its parts.

        The transform has its origin in a corner, and not in the middle of the image; of a negative
        kx it has the opposite frequency, which is the conjugate.
        """
        x, y = self.frequencies[::2].long().unbind(1)
        turned = x < 0
        x, y = torch.where(turned, -x, x), torch.where(turned, -y, y)
        place = (y % self.box) * (self.box // 2 + 1) + x
        sign = 1.0 - 2.0 * ((x + y) % 2)
        return place, sign, torch.where(turned, -sign, sign)

    def images(self, coefficients: Tensor) -> Tensor:
        """Return the images, shape (n, D, D), of coefficients of shape (n, K)."""
        full = coefficients.new_zeros(*coefficients.shape[:-1], self.box**2)
        full[..., self.index] = coefficients
        return inverse_hartley_2d(full.unflatten(-1, (self.box, self.box)))

    def project(self, volume: Tensor | Slicer | Map, poses: Poses) -> Tensor:
        """Return projections before the CTF, shape (n, K).

        Parameters
        ----------
        volume
            A map, or its Hartley grid (D+1)³: projections can be differentiated by it and by the
            poses. Or what reads the grid without, which is much faster.
        poses
            Poses, (n,).
        """
        if isinstance(volume, Slicer):
            slices = volume.at(poses, self.frequencies)
        elif isinstance(volume, Map):
            slices = volume.slices(poses.rotations, self)
        else:
            slices = central_slices(volume, poses.rotations, self.frequencies)
        return self.shift(slices, -poses.shifts) if poses.shifts.any() else slices

    def shift(self, coefficients: Tensor, shifts: Tensor) -> Tensor:
        """Move the content of images (..., K) by ``shifts`` (..., 2), (x, y) in pixels.

        Moving an observed image by its origin shift centres it.
        """
        return shift_hartley(coefficients, self.frequencies, shifts, self.box)


def image_error(
    predicted: Tensor, observed: Tensor, loss: Literal["squared", "absolute"]
) -> Tensor:
    """Return the mean error per coefficient of each image, shape (n,), from shapes (n, K)."""
    difference = predicted - observed
    return (difference.abs() if loss == "absolute" else difference.square()).mean(-1)
