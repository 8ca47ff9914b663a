"""Image formation in Hartley space, ``Y = CTF · shift(slice(map, pose)) + noise``: its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from napari_cryospin.engine.geometry.fourier import (
    disk,
    disk_index,
    hartley_2d,
    inverse_hartley_2d,
    shift_hartley,
)
from napari_cryospin.engine.geometry.slices import central_slices
from napari_cryospin.engine.kernels import Slicer
from napari_cryospin.engine.models.volume import Map

if TYPE_CHECKING:
    import torch
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
        return hartley_2d(images).flatten(-2)[..., self.index]

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
            slices = volume.slices(poses.rotations, self.frequencies)
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
