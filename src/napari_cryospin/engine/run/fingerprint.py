"""Taking the fingerprint of particles, and knowing them again by it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.fingerprint import Fingerprint, binding_settings

if TYPE_CHECKING:
    from pathlib import Path

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


def other_particles(path: Path, particles: Particles) -> str | None:
    """Return a sentence for who looks at a run whose particles are others now.

    Parameters
    ----------
    path
        ``fingerprint.json`` of the run; where it cannot be read, nothing is said.
    particles
        What its settings lead to now.
    """
    try:
        # a pipe would be waited for
        if not path.is_file():
            return None
        before = Fingerprint.from_figures(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, InputError):
        return None
    try:
        require_particles(before, particles)
    except InputError as error:
        return str(error)
    return None


def _signatures(particles: Particles) -> NDArray[np.float32]:
    ctf = torch.zeros(particles.n)
    if particles.ctf_parameters is not None:
        ctf = particles.ctf_parameters.cpu() @ torch.tensor(_CTF_WEIGHTS)
    signatures: NDArray[np.float32] = torch.column_stack((particles.signatures(), ctf)).numpy()
    return signatures
