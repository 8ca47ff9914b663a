"""Aligning images with a map from given poses: steps on SO(3), each image for itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch

from napari_cryospin.engine.data.observed import LEAST_MEMBERSHIP
from napari_cryospin.engine.kernels import PosedImages
from napari_cryospin.engine.refining.gauss_newton import improve, schedule

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.kernels import PoseFit, Slicer
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.refining.per_image_adam import PerImageAdam

# one unit of the shift's parameter: the shift and the rotation share a learning rate in radians,
# and a radian at half the mask's radius moves the outline of a particle by about D/8
_SHIFT_UNIT = 1 / 8
# steps of a refinement with all frequencies in use: what is left is of the order of rounding
_STEPS = 4


@dataclass(frozen=True)
class Refined:
    """Poses of p images after a refinement.

    Parameters
    ----------
    poses
        The poses, (p,).
    errors
        Their errors per Fourier coefficient, (p,): none is larger than before.
    first_errors
        The errors before, (p,).
    """

    poses: Poses
    errors: Tensor
    first_errors: Tensor


@dataclass(frozen=True)
class Alignment:
    """Images with the map that they are aligned with.

    Parameters
    ----------
    model
        Image model of the frequencies in use, K of them.
    slicer
        The map.
    images
        The n images, which need not be centred.
    loss
        Error of the coefficients.
    numbers
        The image of every pose, (p,); by default there is one pose of each.
    shifted
        Whether shifts are refined as well, and not only turns.
    """

    model: ImageModel
    slicer: Slicer
    images: Observed
    loss: Literal["squared", "absolute"] = "squared"
    numbers: Tensor | None = None
    shifted: bool = True

    @cached_property
    def norms(self) -> Tensor:
        """Radius of every frequency in use, in units of 1/box, (K,)."""
        norms: Tensor = self.model.frequencies.norm(dim=1)
        return norms

    def errors(self, poses: Poses) -> Tensor:
        """Return the error of every pose per coefficient, (p,)."""
        return self.residuals(poses)[0]

    def residuals(self, poses: Poses) -> tuple[Tensor, Tensor]:
        """Return the errors of poses, (p,), and the sums of squares at all frequencies, (K,).

        The sums count every image by its membership.
        """
        weighed = replace(self, images=self.images.weighed)
        absolute = self.loss == "absolute"
        errors, power = self.slicer.errors(weighed._posed(poses), absolute=absolute)
        if weighed.images is not self.images:
            weights = self.images.membership.clamp(min=LEAST_MEMBERSHIP)
            weights = weights if self.numbers is None else weights[self.numbers]
            errors = errors / (weights.sqrt() if absolute else weights)
        return errors, power

    def _posed(self, poses: Poses, n_used: int | None = None) -> PosedImages:
        images, used = self.images, self.model.frequencies[:n_used]
        return PosedImages(images.coefficients, images.ctf, poses, used, self.numbers)

    def fit(self, poses: Poses, n_used: int | None = None) -> PoseFit:
        """Return the squared errors of poses by the first frequencies, and where they fall."""
        return self.slicer.fit(self._posed(poses, n_used))

    def step(self, poses: Poses, adam: PerImageAdam, numbers: Tensor) -> tuple[Poses, Tensor]:
        """Move each pose by ``R ← exp([ω]×) R``, and each shift, by the gradient at ω = 0.

        Parameters
        ----------
        poses
            Present poses, (p,).
        adam
            Optimiser with five parameters of each pose.
        numbers
            Numbers of the poses in it, (p,).

        Returns
        -------
        poses
            The poses after the step.
        errors
            The errors before it, (p,).
        """
        found = self.slicer.fit(self._posed(poses), absolute=self.loss == "absolute")
        unit = torch.ones(5, device=numbers.device)
        unit[3:] = _SHIFT_UNIT * self.model.box if self.shifted else 0
        taken = unit * adam.step(numbers, unit * found.gradient)
        return poses.moved(taken), found.errors

    def refine(self, poses: Poses) -> Refined:
        """Refine poses (p,), while the map stays."""
        first = self.errors(poses)
        improved = improve(self, poses, schedule(self, _STEPS, far=True))
        errors = self.errors(improved)
        good = errors <= first
        return Refined(improved.where(good, poses), torch.where(good, errors, first), first)
