"""By how much the error of a pose is expected to be too small, as the map has learned from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.models.backprojection import sphere

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.models.noise import NoiseSpectrum


def optimism(
    weights: Slicer, poses: Poses, images: Observed, model: ImageModel, noise: NoiseSpectrum
) -> Tensor:
    """Return the optimism of the errors of images at poses that the map was made of, (b,).

    A particle has drawn the map towards itself where it was inserted last. Without this an image
    that hardly tells two poses apart would stay at the one that it has (Efron's covariance penalty,
    2004).

    Parameters
    ----------
    weights
        What the maps' sums of CTF·image were divided by.
    poses
        The poses, (b,).
    images
        The images, in units of the noise.
    model
        Their image model.
    noise
        The noise.
    """
    share = images.ctf.square() / weights.at(poses, model.frequencies)
    # what lies outside the sphere in the box is not read back
    back = sphere(model.box).mean() * noise.deviation(model).square()
    result: Tensor = 2 * (share * back).mean(1)
    return result
