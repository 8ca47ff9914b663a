"""Bring images of any optics group to the working box: cropped in real, then in Fourier space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_cryospin.engine.data.table import OpticsGroup

# scale errors of optics groups beyond this are told
_SCALE_TOLERANCE = 0.005
# share of an extent that images may lack
_EXTENT_TOLERANCE = 0.02


@dataclass(frozen=True)
class Sizes:
    """Sizes on the way to the working box.

    Parameters
    ----------
    box
        Working box, pixels, even.
    pixel_size
        Å per working pixel.
    crops
        Side to which the images of each optics group are cropped first, pixels, even: the same
        physical extent for all groups.
    """

    box: int
    pixel_size: float
    crops: tuple[int, ...]


def working_sizes(
    optics: Sequence[OpticsGroup], box: int, extent: float | None = None
) -> tuple[Sizes, list[str]]:
    """Return the sizes for optics groups, and notes for the user.

    The common physical extent is that of the group with the smallest images: nothing is padded
    with pixels that were never measured.

    Parameters
    ----------
    optics
        The optics groups in use.
    box
        The working box that is asked for, pixels.
    extent
        The physical extent that is needed, Å: then box and pixels are just those asked for.

    Raises
    ------
    InputError
        If the images are smaller than the extent, or their pixels larger than the working ones.
    """
    smallest = min(optics, key=lambda group: _even(group.box) * group.pixel_size)
    largest = _even(smallest.box) * smallest.pixel_size
    wanted, extent = extent, largest if extent is None else extent
    crops = tuple(
        min(2 * round(extent / group.pixel_size / 2), _even(group.box)) for group in optics
    )
    if wanted is not None:
        _require_extent(optics, crops, box, wanted)
    notes = []
    if box > min(crops):
        notes.append(f"The working box is {min(crops)} pixels, not {box}: the images hold no more.")
    for group, crop in zip(optics, crops, strict=True):
        error = crop * group.pixel_size / extent - 1
        if abs(error) > _SCALE_TOLERANCE:
            notes.append(
                f"Images of optics group '{group.name}' are scaled by {error:+.1%} against the "
                "others; rescale the stack for exact work."
            )
    box = min(box, *crops)
    return Sizes(box, extent / box, crops), notes


def _require_extent(
    optics: Sequence[OpticsGroup], crops: Sequence[int], box: int, extent: float
) -> None:
    for group, crop in zip(optics, crops, strict=True):
        own = _even(group.box) * group.pixel_size
        # rounding to whole pixels apart
        if own < (1 - _EXTENT_TOLERANCE) * extent:
            raise InputError(
                f"Images of optics group '{group.name}' are {own:.0f} Å wide, and those of the run "
                f"{extent:.0f} Å: extract the particles with a box of {extent:.0f} Å or more."
            )
        if crop < box:
            raise InputError(
                f"Images of optics group '{group.name}' have pixels of {group.pixel_size:.3g} Å, "
                f"and the run works with {extent / box:.3g} Å: extract the particles with pixels "
                "as small as that."
            )


def _even(size: int) -> int:
    return size - size % 2


def real_crop(images: Tensor, size: int) -> Tensor:
    """Return the middle of images (n, N, N) → (n, size, size); pixel N//2 becomes pixel size//2."""
    start = images.shape[-1] // 2 - size // 2
    return images[..., start : start + size, start : start + size]


def fourier_crop(images: Tensor, size: int) -> Tensor:
    """Return images with fewer, larger pixels, (n, N, N) → (n, size, size), both sides even.

    The transform is unitary on both sides: the variance of white noise does not change.
    """
    if size == images.shape[-1]:
        return images
    spectrum = torch.fft.rfft2(images, norm="ortho")
    half = size // 2
    rows = (spectrum[..., :half, : half + 1], spectrum[..., -half:, : half + 1])
    # the origin's phase factor (−1)^k is the same at both sizes, so no shift is needed
    smaller: Tensor = torch.fft.irfft2(torch.cat(rows, dim=-2), s=(size, size), norm="ortho")
    return smaller
