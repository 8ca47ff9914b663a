"""The contrast transfer function, with RELION's sign.

Images in which particles are white are modelled as ``CTF · projection``. At the lowest frequencies
the CTF is then plus the amplitude contrast, and underfocus makes it more positive:
``CTF(k) = sin(π λ Δf k² − π/2 Cs λ³ k⁴ + phase shift + arcsin(amplitude contrast))``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.table import CtfApplied

if TYPE_CHECKING:
    from torch import Tensor


def electron_wavelength(voltage: Tensor) -> Tensor:
    """Return the relativistic wavelength of electrons, Å, of voltages in kV."""
    volts = voltage * 1e3
    return 12.2643247 / torch.sqrt(volts * (1 + volts * 0.978466e-6))


def ctf(
    frequencies: Tensor,
    *,
    u: Tensor,
    v: Tensor,
    angle: Tensor,
    phase_shift: Tensor,
    voltage: Tensor,
    cs: Tensor,
    amplitude_contrast: Tensor,
) -> Tensor:
    """Return the CTF of n particles at K frequencies.

    Parameters
    ----------
    frequencies
        (kx, ky) in 1/Å, shape (K, 2).
    u, v
        Defocus, Å, underfocus positive, shape (n,).
    angle
        Angle between the x axis and the axis of ``u``, degrees, shape (n,).
    phase_shift
        Phase plate shift, degrees, shape (n,).
    voltage
        kV, shape (n,).
    cs
        Spherical aberration, mm, shape (n,).
    amplitude_contrast
        Fraction between 0 and 1, shape (n,).

    Returns
    -------
    Tensor
        Shape (n, K), float32.
    """
    # phases reach thousands of radians: float32 would do for the result, not for them
    kx, ky = frequencies.double().unbind(-1)
    u, v, angle, phase_shift, voltage, cs, amplitude_contrast = (
        value.double()[:, None]
        for value in (u, v, angle, phase_shift, voltage, cs, amplitude_contrast)
    )
    squared = kx**2 + ky**2
    direction = torch.atan2(ky, kx) - torch.deg2rad(angle)
    defocus = (u + v) / 2 + (u - v) / 2 * torch.cos(2 * direction)
    wavelength = electron_wavelength(voltage)
    phase = (
        math.pi * wavelength * defocus * squared
        - math.pi / 2 * (cs * 1e7) * wavelength**3 * squared**2
        + torch.deg2rad(phase_shift)
        + torch.asin(amplitude_contrast)
    )
    return torch.sin(phase).float()


def as_applied(values: Tensor, applied: Tensor) -> Tensor:
    """Return the transfer function of images that were treated for their CTF, as RELION models it.

    Parameters
    ----------
    values
        The CTF, shape (n, K).
    applied
        What was done to each image, as :class:`~napari_cryospin.engine.data.table.CtfApplied`,
        shape (n,): |CTF| for flipped phases, CTF² for images multiplied by their CTF.
    """
    applied = applied[:, None]
    flipped = torch.where(applied == CtfApplied.PHASES_FLIPPED, values.abs(), values)
    return torch.where(applied == CtfApplied.MULTIPLIED, values.square(), flipped)
