"""Noise as micrographs have it: its power spectrum, structure of the ice, ramps and backgrounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import torch

from napari_cryospin.engine.data.nuisances import Noise
from napari_cryospin.engine.simulate.groups import colour, deviations, group_of
from napari_cryospin.engine.simulate.streams import Stream, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.nuisances import Nuisances
    from napari_cryospin.engine.simulate.images import Transfer

# power of what falls off slowly, relative to the shot noise, and where it does, Å
_EXCESS, _LENGTH = 3.0, 40.0
# envelope of the coloured noise where none was asked for, Å²
_OWN_ENVELOPE = 80.0
# the detector passes exp(−0.6) of the amplitude at Nyquist
_DETECTOR = 0.6
# water: the distance of its molecules, Å, and how sharp its ring is, 1/Å
_WATER, _RING, _RING_HEIGHT = 3.7, 0.03, 2.0
_WAVES, _SLOWEST, _FASTEST = 6, 0.3, 1.5


class MicrographNoise:
    """What lies over the particles; all in standard deviations of the noise.

    Parameters
    ----------
    nuisances
        What was asked for.
    transfer
        The microscope, for what is in the ice.
    seed
        Random seed.
    """

    def __init__(self, nuisances: Nuisances, transfer: Transfer, seed: int) -> None:
        self._nuisances, self._transfer = nuisances, transfer
        self._box, self._pixel_size = transfer.table.box, transfer.table.pixel_size
        self._ice = stream(seed, Stream.ICE)
        self._ramps = stream(seed, Stream.RAMPS)
        self._background = stream(seed, Stream.BACKGROUND)

    def noise(self, rows: NDArray[np.int64], white: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return noise, (n, D, D), of unit variance on average, made of white noise of the same."""
        noise, groups = white, self._nuisances.groups
        if self._nuisances.noise == Noise.COLOURED or groups > 1:
            amplitude = np.stack([self._amplitude(group) for group in range(groups)])
            filtered = scipy.fft.rfft2(white) * amplitude[group_of(rows, groups)]
            noise = scipy.fft.irfft2(filtered, s=white.shape[1:])
        share = self._nuisances.ice
        if share:
            noise = np.sqrt(1 - share) * noise + np.sqrt(share) * self._structure(rows)
        if groups > 1:
            noise = deviations(groups)[group_of(rows, groups), None, None] * noise
        return np.asarray(noise, dtype=np.float32)

    def under(self, n: int) -> NDArray[np.float32]:
        """Return ramps and backgrounds of low frequency of n images, (n, D, D)."""
        line = ((np.arange(self._box) + 0.5) / self._box - 0.5).astype(np.float32)
        result = np.zeros((n, self._box, self._box), dtype=np.float32)
        if self._nuisances.ramp:
            angle = self._ramps.uniform(0, 2 * np.pi, n)
            # a ramp from −1/2 to 1/2 has the variance 1/12
            height = np.sqrt(12) * self._nuisances.ramp * self._ramps.standard_normal(n)
            along_x, along_y = height * np.cos(angle), height * np.sin(angle)
            result += along_x[:, None, None] * line + along_y[:, None, None] * line[:, None]
        if self._nuisances.background:
            result += self._nuisances.background * self._waves(n, line)
        return result

    def _waves(self, n: int, line: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a few long waves in random directions, unit variance, (n, D, D)."""
        rng = self._background
        angle = rng.uniform(0, 2 * np.pi, (n, _WAVES))
        cycles = rng.uniform(_SLOWEST, _FASTEST, (n, _WAVES))
        phase = rng.uniform(0, 2 * np.pi, (n, _WAVES))
        x = 2j * np.pi * (cycles * np.cos(angle))[..., None] * line
        y = 2j * np.pi * (cycles * np.sin(angle))[..., None] * line + 1j * phase[..., None]
        waves = np.einsum("nwy,nwx->nyx", np.exp(y), np.exp(x), optimize=True).real
        return np.asarray(waves * np.sqrt(2 / _WAVES), dtype=np.float32)

    def _structure(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what the molecules of the ice show through the CTF, unit variance, (n, D, D)."""
        box = self._box
        random = self._ice.standard_normal((len(rows), box, box), dtype=np.float32)
        frequencies = torch.from_numpy(self._frequencies).float()
        seen = self._transfer.at(rows, frequencies.reshape(-1, 2)).numpy()
        k = np.hypot(self._frequencies[..., 0], self._frequencies[..., 1])
        ring = 1 + _RING_HEIGHT * np.exp(-0.5 * ((k - 1 / _WATER) / _RING) ** 2)
        amplitude = seen.reshape(len(rows), *k.shape) * ring
        power = _mean_power(amplitude, box)[:, None, None]
        filtered = scipy.fft.rfft2(random) * (amplitude / np.sqrt(power))
        return np.asarray(scipy.fft.irfft2(filtered, s=(box, box)), dtype=np.float32)

    @property
    def _frequencies(self) -> NDArray[np.float64]:
        """Return (kx, ky), 1/Å, of half of the transform, (D, D/2 + 1, 2)."""
        ky = np.fft.fftfreq(self._box, self._pixel_size)
        kx = np.fft.rfftfreq(self._box, self._pixel_size)
        return np.stack(np.meshgrid(kx, ky), -1)

    def _amplitude(self, group: int) -> NDArray[np.float32]:
        """Return the root of a group's power spectrum, whose mean over all pixels is 1."""
        k = np.hypot(self._frequencies[..., 0], self._frequencies[..., 1])
        power = colour(group, k)
        if self._nuisances.noise == Noise.COLOURED:
            envelope = np.exp(-(self._nuisances.envelope or _OWN_ENVELOPE) * k**2 / 2)
            detector = np.exp(-2 * _DETECTOR * k * 2 * self._pixel_size)
            power = power * detector * (1 + _EXCESS * envelope / (1 + (_LENGTH * k) ** 2) ** 0.5)
        amplitude = np.sqrt(power)
        return np.asarray(amplitude / np.sqrt(_mean_power(amplitude, self._box)), np.float32)


def _mean_power(amplitude: NDArray[np.floating], box: int) -> NDArray[np.floating]:
    """Return the mean square over the whole transform of amplitudes (..., D, D/2 + 1)."""
    weight = np.full(box // 2 + 1, 2.0)
    weight[[0, -1]] = 1
    return np.asarray((amplitude**2 * weight).sum((-1, -2)) / box**2)
