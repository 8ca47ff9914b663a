"""Fourier and Hartley transforms with the origin at pixel ``D // 2``, and the frequencies in use.

The Hartley transform is ``H = Re F − Im F``. Images are transformed unitarily ("ortho"), so white
noise of unit variance stays so in every coefficient. Maps are transformed such that central slices
are the transforms of projections: ``FFT3(map) / D``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor


def hartley_2d(images: Tensor) -> Tensor:
    """Return the centred unitary Hartley transform of images, shape (..., D, D)."""
    axes = (-2, -1)
    spectrum = torch.fft.fft2(torch.fft.ifftshift(images, dim=axes), norm="ortho")
    spectrum = torch.fft.fftshift(spectrum, dim=axes)
    result: Tensor = spectrum.real - spectrum.imag
    return result


def inverse_hartley_2d(hartley: Tensor) -> Tensor:
    """Return images from Hartley transforms, (..., D, D); the transform is its own inverse."""
    return hartley_2d(hartley)


def hartley_grid_from_map(volume: Tensor) -> Tensor:
    """Return the (D+1)³ Hartley grid of a map of shape (D, D, D), Nyquist planes repeated."""
    box = volume.shape[-1]
    spectrum = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(volume))) / box
    spectrum = torch.nn.functional.pad(spectrum[None], (0, 1) * 3, mode="circular")[0]
    result: Tensor = spectrum.real - spectrum.imag
    return result


def map_from_hartley_grid(grid: Tensor) -> Tensor:
    """Return the map (D, D, D) of a (D+1)³ Hartley grid."""
    box = grid.shape[-1] - 1
    # the two copies of each Nyquist plane stand for one coefficient
    spectrum = grid[:box, :box, :box] * box
    result = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(spectrum))) / box**3
    volume: Tensor = result.real - result.imag
    return volume


def interpolation_window(box: int, device: torch.device | str = "cpu") -> Tensor:
    """Return ``sinc²(x/D) sinc²(y/D) sinc²(z/D)``, shape (D, D, D).

    Trilinear interpolation of a Fourier grid multiplies the map by this window: the map that a grid
    stands for is its inverse transform times the window.
    """
    x = (torch.arange(box, device=device) - box // 2) / box
    line = torch.sinc(x) ** 2
    return line[:, None, None] * line[:, None] * line


def disk(box: int, radius: float, device: torch.device | str = "cpu") -> Tensor:
    """Return the integer frequencies (kx, ky) with ``0 < |k| ≤ radius``, shape (K, 2), float32.

    ``radius`` is limited to below Nyquist. They are ordered by |k|, so the disk of a smaller radius
    is the beginning of a larger one, and every frequency ``k`` is followed by ``-k``.
    """
    half = box // 2
    k = torch.arange(-half + 1, half)
    ky, kx = torch.meshgrid(k, k, indexing="ij")
    norm = torch.sqrt((kx**2 + ky**2).double())
    one_half = (ky > 0) | ((ky == 0) & (kx > 0))
    inside = (norm <= min(radius, half - 1)) & one_half
    order = torch.argsort(norm[inside], stable=True)
    first = torch.stack((kx[inside][order], ky[inside][order]), -1)
    return torch.stack((first, -first), 1).flatten(0, 1).float().to(device)


def disk_index(frequencies: Tensor, box: int) -> Tensor:
    """Return the flat index of integer frequencies (K, 2) in a centred (D, D) array, shape (K,)."""
    k = frequencies.long() + box // 2
    return k[:, 1] * box + k[:, 0]


def shift_hartley(hartley: Tensor, frequencies: Tensor, shifts: Tensor, box: int) -> Tensor:
    """Move images by ``shifts``, in Hartley space.

    Parameters
    ----------
    hartley
        Coefficients on the disk, shape (..., K).
    frequencies
        The disk, shape (K, 2): every k is followed by −k.
    shifts
        Movement of the content to the right and up the index axis (x, y), pixels, (..., 2).
    box
        Side of the images, pixels.

    Returns
    -------
    Tensor
        Shape (..., K).
    """
    phase = (2 * math.pi / box) * (shifts @ frequencies[::2].T)
    pairs = hartley.unflatten(-1, (-1, 2))
    shape = torch.broadcast_shapes(pairs.shape[:-1], phase.shape)
    turned: Tensor = _Turn.apply(  # type: ignore[no-untyped-call]
        pairs.expand(*shape, 2), phase.expand(shape)
    )
    return turned.flatten(-2)


def move_grid(grid: Tensor, shift: Tensor) -> Tensor:
    """Move the map of a Hartley grid (D+1)³ by ``shift`` (x, y, z), voxels, around the box."""
    box = len(grid) - 1
    k = torch.arange(box + 1, dtype=grid.dtype, device=grid.device) - box // 2
    x, y, z = (2 * math.pi / box * each * k for each in shift.to(grid))
    phase = z[:, None, None] + y[:, None] + x
    moved: Tensor = phase.cos() * grid + phase.sin() * grid.flip(0, 1, 2)
    return moved


class _Turn(torch.autograd.Function):
    """Turns pairs of k and −k, (..., 2), by phases (...): ``F(k) → F(k) e^{−iφ}``.

    In Hartley space ``H = Re F − Im F`` and ``H(−k) = Re F + Im F``. What autograd would keep of
    the sines and products takes most of the time of a pose step.
    """

    @staticmethod
    def forward(ctx: Any, pairs: Tensor, phase: Tensor) -> Tensor:
        cosine, sine = torch.cos(phase), torch.sin(phase)
        turned = _turned(pairs, cosine, sine)
        ctx.save_for_backward(turned, cosine, sine)
        return turned

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        turned, cosine, sine = ctx.saved_tensors
        by_phase = gradient[..., 0] * turned[..., 1] - gradient[..., 1] * turned[..., 0]
        return _turned(gradient, cosine, -sine), by_phase


def _turned(pairs: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    plus, minus = pairs.unbind(-1)
    return torch.stack((cosine * plus + sine * minus, cosine * minus - sine * plus), -1)
