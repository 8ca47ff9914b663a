"""The maps that a run begins with: random ones, of the amplitude that its images tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.geometry.fourier import hartley_2d
from napari_cryospin.engine.models.noise import mean_power
from napari_cryospin.engine.models.volume import HartleyVolume, frequency_radius
from napari_cryospin.engine.random_streams import stream

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings

# images that tell the amplitude
_MOST_LOOKED_AT = 2000


def random_maps(
    particles: Particles, settings: Settings, amplitude: Tensor, start: int
) -> list[HartleyVolume]:
    """Return the map of each class that a start begins with, of amplitudes (≥ D/2,)."""
    box, device, seed = particles.box, particles.device, settings.seed
    draws = [stream(seed, "map", start)]
    draws += [stream(seed, "map", start, n) for n in range(1, settings.model.classes)]
    return [HartleyVolume(box, amplitude, draw).to(device) for draw in draws]


def signal_amplitude(particles: Particles, rows: Tensor) -> Tensor:
    """Return the expected amplitude of a map's coefficients at radius 0 to D, from its images.

    The mean power of the images less the noise's 1, over the mean CTF² of one half; of the first
    of the particles ``rows`` (m,).
    """
    box = particles.box
    power = mean_power(hartley_2d(particles.images(rows[:_MOST_LOOKED_AT])).flatten(1))
    radius = frequency_radius(box)[box // 2, :box, :box].flatten().to(particles.device)
    mean = torch.bincount(radius, power) / torch.bincount(radius)
    # a hundredth of the noise keeps shells without signal alive
    signal = (2 * (mean - 1)).clamp(min=1e-2)
    return signal.sqrt().cpu()
