"""Random poses that are tried on all images of a batch, beside what the heads propose."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.poses import Poses
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
def best_of(measure: Measure, seen: Observed, rotations: Tensor) -> tuple[Poses, Tensor]:
    """Return the pose that fits each image best, (b,), and its error per coefficient, (b,).

    It lies where the image has been moved to.

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
    found = []
    for number in range(measure.n_maps):
        classes = torch.full((len(rotations),), number, device=rotations.device)
        poses = replace(Poses.centred(rotations), classes=classes)
        slices = measure.slicer.at(poses, model.frequencies)
        agreement = (seen.ctf * seen.coefficients) @ slices.T
        agreement.addmm_(seen.ctf.square(), slices.square().T, alpha=-0.5)
        found.append(agreement)
    best, which = torch.cat(found, 1).max(1)
    power = seen.coefficients.square().sum(1)
    classes, which = which // len(rotations), which % len(rotations)
    chosen = Poses(rotations[which], seen.origins, classes if measure.n_maps > 1 else None)
    return chosen, (power - 2 * best) / len(model.frequencies)
