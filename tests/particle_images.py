"""The images of particles, all at once: tests have few."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.image_store import InMemory

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles


def all_images(particles: Particles) -> Tensor:
    """Return the images of all particles, (n, D, D)."""
    return particles.images(torch.arange(particles.n))


def with_images(particles: Particles, images: Tensor) -> Particles:
    """Return particles with other images, (n, D, D)."""
    return replace(particles, store=InMemory(images))
