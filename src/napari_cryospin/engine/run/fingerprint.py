"""Taking the fingerprint of particles, and knowing them again by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.fingerprint import DIRECTIONS, Fingerprint, binding_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.settings import Settings

# of u, v (Å), angle, phase shift (degrees), voltage (kV), Cs (mm), amplitude contrast
_CTF_WEIGHTS = (1.0e-3, 1.3e-3, 0.017, 0.019, 0.011, 0.7, 3.0)
_PART = 1000


def fingerprint_of(stack: WorkingStack, settings: Settings) -> Fingerprint:
    """Return the fingerprint of a working stack and of the settings of its run."""
    return Fingerprint(binding_settings(settings), stack.pixel_size, _signatures(stack))


def require_particles(fingerprint: Fingerprint, stack: WorkingStack) -> None:
    """Raise InputError where a working stack holds other particles than a run began with."""
    difference = fingerprint.difference(_signatures(stack), stack.pixel_size)
    if difference is not None:
        raise InputError(
            f"The run was made of other particles than {stack.table.source} holds now: "
            f"{difference}; bring back the table and the images of the run, or start a new one."
        )


def _signatures(stack: WorkingStack) -> NDArray[np.float32]:
    generator = torch.Generator().manual_seed(stack.box)
    directions = torch.randn(stack.box**2, DIRECTIONS, generator=generator) / stack.box
    images = stack.images.cpu().flatten(1)
    projected = torch.cat([part @ directions for part in images.split(_PART)])
    ctf = torch.zeros(stack.n)
    if stack.ctf_parameters is not None:
        ctf = stack.ctf_parameters.cpu() @ torch.tensor(_CTF_WEIGHTS)
    signatures: NDArray[np.float32] = torch.column_stack((projected, ctf)).numpy()
    return signatures
