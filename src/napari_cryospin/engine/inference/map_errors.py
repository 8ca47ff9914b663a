"""Errors that maps can be taught by: each image beside the map that it is posed by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from napari_cryospin.engine.models.image import image_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.models.volume import Map


def errors_of_maps(
    model: ImageModel,
    maps: Sequence[Map],
    poses: Poses,
    seen: Observed,
    loss: Literal["squared", "absolute"],
) -> Tensor:
    """Return errors per coefficient, differentiable by the maps and by the poses, (b,).

    Parameters
    ----------
    model
        Image model of the frequencies in use.
    maps
        The maps, C of them.
    poses
        A pose of each image, (b,).
    seen
        The images.
    loss
        Error of the coefficients.
    """
    if poses.classes is None:
        return image_error(seen.ctf * model.project(maps[0], poses), seen.coefficients, loss)
    places, found = [], []
    for number, volume in enumerate(maps):
        here = (poses.classes == number).nonzero().flatten()
        # a batch may hold nobody of a class
        if not len(here):
            continue
        predicted = seen.ctf[here] * model.project(volume, poses[here])
        places.append(here)
        found.append(image_error(predicted, seen.coefficients[here], loss))
    return torch.cat(found)[torch.cat(places).argsort()]
