"""Fourier shell correlation and the resolution that it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def fsc(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return the Fourier shell correlation of two maps.

    Parameters
    ----------
    a, b
        Maps of one shape (D, D, D).

    Returns
    -------
    ndarray
        Correlation at frequency radius 0, 1, …, D/2 (Nyquist), shape (D // 2 + 1,); 0 in shells
        where a map has no signal.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"the maps must have one shape, not {a.shape} and {b.shape}")
    box = a.shape[0]
    shells = frequency_shells(box).ravel()
    fa, fb = scipy.fft.fftn(a).ravel(), scipy.fft.fftn(b).ravel()
    cross = np.bincount(shells, (fa * fb.conj()).real)
    power = np.bincount(shells, abs(fa) ** 2) * np.bincount(shells, abs(fb) ** 2)
    curve = np.divide(cross, np.sqrt(power), out=np.zeros_like(cross), where=power > 0)
    return np.asarray(curve[: box // 2 + 1], dtype=np.float64)


def frequency_shells(box: int) -> NDArray[np.int64]:
    """Return the rounded frequency radius of every voxel of an FFT, shape (D, D, D)."""
    k = np.fft.fftfreq(box, 1 / box)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    return np.asarray(np.rint(radius), dtype=np.int64)


def crossing_shell(curve: ArrayLike, threshold: float) -> float:
    """Return the shell, interpolated, where a curve first falls below a threshold.

    Counted from shell 1; a curve that never falls gives its last shell, Nyquist.
    """
    curve = np.asarray(curve, dtype=np.float64)
    below = np.flatnonzero(curve[1:] < threshold)
    if len(below) == 0:
        return float(len(curve) - 1)
    shell = int(below[0]) + 1
    before, after = curve[shell - 1], curve[shell]
    if shell == 1 or before <= threshold:
        return float(shell)
    return shell - 1 + float((before - threshold) / (before - after))


def resolution(curve: ArrayLike, pixel_size: float, threshold: float) -> float:
    """Return the resolution, Å, where an FSC curve first falls below a threshold.

    Parameters
    ----------
    curve
        Correlation at frequency radius 0, 1, …, D/2, shape (D/2 + 1,), as :func:`fsc` gives it.
    pixel_size
        Å per voxel of the maps.
    threshold
        0.143 between independent half-maps, 0.5 against the true map.

    Returns
    -------
    float
        Å, interpolated between shells; that of Nyquist for a curve that falls nowhere.
    """
    nyquist_shell = len(np.asarray(curve)) - 1
    return 2 * nyquist_shell * pixel_size / crossing_shell(curve, threshold)
