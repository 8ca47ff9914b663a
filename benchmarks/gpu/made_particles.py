"""Particles that are made where they are used: many of them, without a file between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from napari_cryospin.engine.data.image_store import InMemory
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.normalise import soft_mask
from napari_cryospin.engine.data.particles import Particles
from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.models.image import ImageModel

# Å that the box spans; kV, mm and Å of the microscope
_EXTENT = 256.0
_VOLTAGE, _CS, _AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1
_DEFOCUS = (10_000.0, 20_000.0)
_AT_ONCE = 500


def made_particles(
    n: int, box: int, device: str, *, snr: float = 0.1, seed: int = 0
) -> tuple[Particles, np.ndarray]:
    """Return particles of the made-up molecule on a device, and their true poses, (n, 3, 3).

    As the simulator's: uniform poses, centred, uniform defocus, white noise; noise of unit variance
    and masked, as the working stack is.
    """
    pixel_size = _EXTENT / box
    rng = np.random.default_rng(seed)
    rotations = random_rotations(n, rng)
    images = torch.empty(n, box, box, device=device)
    particles = Particles(
        table=_table(n, box, pixel_size, rotations),
        rows=np.arange(n),
        store=InMemory(images),
        pixel_size=pixel_size,
        ctf_parameters=_ctf_parameters(n, rng).to(device),
        mask_power=1.0,
        notes=(),
        device=images.device,
    )
    mask = soft_mask(box, box).to(device)
    _fill(particles, images, torch.from_numpy(rotations).float().to(device), mask, snr, seed)
    power = float(mask.square().mean())
    return replace(particles, mask_power=power), rotations


def _fill(
    particles: Particles,
    images: torch.Tensor,
    rotations: torch.Tensor,
    mask: torch.Tensor,
    snr: float,
    seed: int,
) -> None:
    """Write clean images first, for their variance, and then the noise onto them."""
    box, device = particles.box, particles.device
    volume = torch.from_numpy(procedural_molecule(box, particles.pixel_size)).to(device)
    projector, model = Projector(volume), ImageModel.within(box, box / 2, device)
    parts = torch.arange(particles.n, device=device).split(_AT_ONCE)
    for rows in parts:
        slices = projector.slices(rotations[rows], model.frequencies)
        images[rows] = model.images(particles.ctf(rows, model.frequencies) * slices)
    deviation = torch.stack([images[rows].var() for rows in parts]).mean().sqrt()
    draw = torch.Generator(device).manual_seed(seed)
    for rows in parts:
        noise = torch.randn(len(rows), box, box, generator=draw, device=device)
        images[rows] = mask * (images[rows] * (snr**0.5 / deviation) + noise)


def _ctf_parameters(n: int, rng: np.random.Generator) -> torch.Tensor:
    defocus = rng.uniform(*_DEFOCUS, n)
    columns = (defocus + 100, defocus - 100, rng.uniform(0, 180, n), np.zeros(n))
    lens = np.tile((_VOLTAGE, _CS, _AMPLITUDE_CONTRAST), (n, 1))
    return torch.from_numpy(np.column_stack((*columns, lens)).astype(np.float32))


def _table(n: int, box: int, pixel_size: float, rotations: np.ndarray) -> ParticleTable:
    zeros = np.zeros(n, dtype=np.int64)
    optics = OpticsGroup("made", pixel_size, box, _VOLTAGE, _CS, _AMPLITUDE_CONTRAST)
    return ParticleTable(
        source=Path("made.star"),
        stacks=(Path("made.mrcs"),),
        stack_index=zeros,
        image_index=np.arange(n),
        optics=(optics,),
        optics_index=zeros,
        defocus=None,
        rotations=rotations,
        shifts=np.zeros((n, 2)),
    )
