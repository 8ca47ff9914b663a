"""Taking the fingerprint of particles, and knowing them again by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.fingerprint import Fingerprint, binding_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings

# of u, v (Å), angle, phase shift (degrees), voltage (kV), Cs (mm), amplitude contrast
_CTF_WEIGHTS = (1.0e-3, 1.3e-3, 0.017, 0.019, 0.011, 0.7, 3.0)


def fingerprint_of(particles: Particles, settings: Settings) -> Fingerprint:
    """Return the fingerprint of particles and of the settings of its run."""
    return Fingerprint(binding_settings(settings), particles.pixel_size, _signatures(particles))


def require_particles(fingerprint: Fingerprint, particles: Particles) -> None:
    """Raise InputError where these are other particles than a run began with."""
    difference = fingerprint.difference(_signatures(particles), particles.pixel_size)
    if difference is not None:
        raise InputError(
            f"The run was made of other particles than {particles.table.source} holds now: "
            f"{difference}; bring back the table and the images of the run, or start a new one."
        )


def _signatures(particles: Particles) -> NDArray[np.float32]:
    ctf = torch.zeros(particles.n)
    if particles.ctf_parameters is not None:
        ctf = particles.ctf_parameters.cpu() @ torch.tensor(_CTF_WEIGHTS)
    signatures: NDArray[np.float32] = torch.column_stack((particles.signatures(), ctf)).numpy()
    return signatures
