"""Random poses that are tried on all images of a batch, beside what the heads propose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.random_streams import stream_seed

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.inference.asking import Measure


def drawn(n: int, seed: int, *numbers: int) -> Tensor:
    """Return ``n`` rotations, uniform over SO(3), (n, 3, 3), of a seed and numbers of the draw."""
    draw = np.random.default_rng(stream_seed(seed, "guesses", *numbers))
    return torch.from_numpy(random_rotations(n, draw)).float()


@torch.no_grad()
def best_of(measure: Measure, seen: Observed, rotations: Tensor) -> tuple[Tensor, Tensor]:
    """Return which of some poses fits each image best, (b,), and its error per coefficient, (b,).

    The poses are the same for all images, so a slice is read once for each, and all pairs are
    products of matrices.

    Parameters
    ----------
    measure
        What poses are compared by.
    seen
        The images, b of them, centred.
    rotations
        The poses, (j, 3, 3).
    """
    model = measure.model
    if measure.noise is not None:
        seen = seen.over(measure.noise.deviation(model))
    slices = measure.slicer.slices(rotations, model.frequencies)
    agreement = (seen.ctf * seen.coefficients) @ slices.T
    agreement.addmm_(seen.ctf.square(), slices.square().T, alpha=-0.5)
    best, which = agreement.max(1)
    power = seen.coefficients.square().sum(1)
    return which, (power - 2 * best) / len(model.frequencies)
